// Package test holds the black-box tests of Stele: they build cmd/stele, run it as a process and connect to it through
// gRPC and HTTP. It is a module of its own so that the heavy dependencies of the tests (etcd's server, the
// linearizability checker) never reach the product's go.mod.
//
// From the product it imports only drivers/drivertest/database and drivers/drivertest/proxy, which start database
// servers and fail their connections, and the packages of pkg, which are for other programs.
package test
