// Package kubeadm pins the kubeadm that the tests ask about Stele (see up/kubeadm_test.go), in a module of its own with
// exactly the dependencies it is released with.
package kubeadm
