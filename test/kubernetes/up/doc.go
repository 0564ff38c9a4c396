// Package up runs scripts/kubernetes-up, the commands that it prints, and the commands of docs/kubernetes.md, as a new
// user does.
//
// Environment: STELE_TEST_DATABASE is where the control plane stores, see package stele. STELE_TEST_KUBERNETES_BIN
// names a directory with the programs of Kubernetes; without it the tests build them.
package up
