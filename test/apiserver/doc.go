// Package apiserver has no code: its tests run the API server's own storage tests against a server of its own.
//
// k8s.io/apiserver/pkg/storage/testing holds what Kubernetes asks of any storage. Here it is asked of the real etcd3
// store, and of the watch cache on top of that store, when a real stele (or etcd) is behind them. README.md says how to
// run it.
//
// The module stands for itself, so that the etcd client and gRPC have the versions that kube-apiserver is built with.
package apiserver
