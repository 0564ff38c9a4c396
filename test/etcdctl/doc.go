// Package etcdctl uses Stele through etcd's own tools, etcdctl and etcdutl, beside an etcd: what they print is
// compared, and an etcd goes on with what they saved.
package etcdctl
