// Package clients uses Stele through the programs and libraries that people use with etcd: etcdctl, etcd's Go client,
// gRPC health and reflection, and plain HTTP. What can be is compared with etcd.
package clients
