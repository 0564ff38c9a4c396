package logstructured

import "github.com/stele-db/stele/logstructured/log"

type (
	// Revision is etcd's store revision, as the log stores it.
	Revision = log.Revision
	// LeaseID identifies a lease, as the log stores it.
	LeaseID = log.LeaseID
)
