package docs

import (
	"strings"
	"testing"

	"github.com/stele-db/stele/test/internal/etcd"
)

// etcdAddress is the address of the etcd on the pages.
const etcdAddress = "etcd.example:2379"

// startEtcd starts an etcd if the page uses one, and returns its address. It ends with the test.
func startEtcd(t *testing.T, p *page) string {
	t.Helper()
	for _, c := range p.commands {
		if strings.Contains(c.text, etcdAddress) {
			return etcd.Start(t, etcd.Options{}).Target
		}
	}
	return etcdAddress
}
