package server

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/version"
)

// recordDowngrade holds the version that a downgrade was enabled to.
const recordDowngrade = "downgrade"

// clusterVersion returns the version that etcd reports as the versions of the cluster and of the storage.
func (m *member) clusterVersion() string { return clusterVersionOf(m.store.Records()) }

func clusterVersionOf(records logstructured.Records) string {
	if target, ok := records.Get(recordDowngrade); ok {
		return string(target)
	}
	return version.EtcdCluster
}

// downgrade returns the downgrade information in Status.
func (m *member) downgrade() *pb.DowngradeInfo {
	target, enabled := m.store.Records().Get(recordDowngrade)
	return &pb.DowngradeInfo{Enabled: enabled, TargetVersion: string(target)}
}
