//go:build modules

package etcdsuite

// The packages whose tests are run, so that go.mod has what they need.
import (
	_ "go.etcd.io/etcd/etcdctl/v3/ctlv3"
	_ "go.etcd.io/etcd/etcdutl/v3/etcdutl"
	_ "go.etcd.io/etcd/tests/v3/framework"
)
