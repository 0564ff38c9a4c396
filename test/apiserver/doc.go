// Package apiserver runs the API server's own storage tests against real servers, stele or etcd. It contains only
// tests.
//
// k8s.io/apiserver/pkg/storage/testing has the requirements of Kubernetes for any storage. The tests apply them to the
// real etcd3 store, and to the watch cache on top of that store. README.md describes how to run them.
//
// The directory is a module of its own, so that the etcd client and gRPC have the versions that kube-apiserver is built
// with.
package apiserver
