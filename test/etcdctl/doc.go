// Package etcdctl uses Stele and an etcd through etcd's own tools, etcdctl and etcdutl, and compares the output.
//
// An etcd also restores snapshots of Stele.
package etcdctl
