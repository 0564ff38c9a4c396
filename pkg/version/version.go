// Package version holds the version of Stele and the version of etcd whose API it serves.
package version

// Set by the linker: -ldflags "-X github.com/stele-db/stele/pkg/version.Version=v1.2.3 -X ...GitCommit=abcdef0".
// A plain `go build` leaves them as they are.
var (
	// Version is Stele's release, with a leading v, or "dev".
	Version = "dev"
	// GitCommit is the short hash of the commit that was built, or "unknown".
	GitCommit = "unknown"
)

const (
	// Etcd is the etcd release whose API Stele serves, which Status and /version report. It is a plain semantic
	// version: kube-apiserver parses it, and enables consistent reads from the watch cache from 3.5.13 on.
	Etcd = "3.7.3"
	// EtcdCluster is the cluster version in /version: major and minor version of Etcd.
	EtcdCluster = "3.7.0"
)

// String returns one line for people: "dev (commit unknown, etcd API 3.7.3)".
func String() string {
	return Version + " (commit " + GitCommit + ", etcd API " + Etcd + ")"
}
