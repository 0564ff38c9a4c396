// Package version says which Stele this is, and which etcd its API is that of.
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
	// Etcd is the etcd release whose API Stele serves: what Status and /version report. It is a plain semantic version,
	// because kube-apiserver parses it and turns on the watch cache's consistent reads from 3.5.13 on.
	Etcd = "3.7.3"
	// EtcdCluster is the cluster version beside it in /version: major and minor of Etcd.
	EtcdCluster = "3.7.0"
)

// String is one line for people: "dev (commit unknown, etcd API 3.7.3)".
func String() string {
	return Version + " (commit " + GitCommit + ", etcd API " + Etcd + ")"
}
