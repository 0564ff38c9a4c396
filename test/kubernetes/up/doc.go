// Package up runs scripts/kubernetes-up as a newcomer does, types the lines that it prints, and runs the commands of
// docs/kubernetes.md.
//
// Environment: STELE_TEST_DATABASE is where the control plane stores, see package stele; STELE_TEST_KUBERNETES_BIN
// names a directory that has the programs of Kubernetes, which are built otherwise.
package up
