// Package clients uses Stele through the programs and libraries that people use with etcd.
//
// These are etcdctl, etcd's Go client, gRPC health and reflection, and plain HTTP. Where etcd has an answer, the tests
// compare with it.
package clients
