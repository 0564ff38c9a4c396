//go:build modules

package etcdsuite

import (
	// These are the packages whose tests run. They are imported so that go.mod has their dependencies.
	_ "go.etcd.io/etcd/etcdctl/v3/ctlv3"
	_ "go.etcd.io/etcd/etcdutl/v3/etcdutl"
	_ "go.etcd.io/etcd/tests/v3/framework"
)
