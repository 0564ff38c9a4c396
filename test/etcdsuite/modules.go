//go:build modules

package etcdsuite

// These are the packages whose tests run. They are imported so that go.mod has their dependencies.
import (
	_ "go.etcd.io/etcd/etcdctl/v3/ctlv3"
	_ "go.etcd.io/etcd/etcdutl/v3/etcdutl"
	_ "go.etcd.io/etcd/tests/v3/framework"
)
