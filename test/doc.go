// Package test holds the black-box tests of Stele: they build cmd/stele, run it as a process and talk to it
// through gRPC and HTTP only. It is a module of its own so that the heavy dependencies of the tests (etcd's
// server, the linearizability checker) never reach the product's go.mod.
//
// Nothing here imports a package of the product.
package test
