// Package kubeadm pins the kubeadm that up/kubeadm_test.go runs. It is a module of its own, with exactly the
// dependencies of kubeadm's release.
package kubeadm
