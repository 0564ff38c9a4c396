package mysql

import (
	"context"
	"errors"
	"strconv"

	"github.com/stele-db/stele/logstructured/log"
)

// galera is the engine of a node of a Galera cluster.
type galera struct{ innoDB }

// Statements that wait for the cluster's earlier commits. The INSERT of an append need not wait, because the cluster
// certifies it at commit.
const (
	syncReads   = 1
	syncUpdates = 2
)

func (galera) settings(_ map[string]string, syncWait int) []setting {
	return []setting{
		{"wsrep_sync_wait", strconv.Itoa(syncWait)},
		// The server must not retry statements itself: if the first attempt of an INSERT took effect after all, the
		// retry would report a conflict with itself.
		{"wsrep_retry_autocommit", "0"},
	}
}

// lagTries bounds how often an append is tried again because its node was behind the cluster.
const lagTries = 5

// append repeats an append whose precondition failed only because the node lagged behind the cluster. Checking after
// the failure is safe, because a conflict is a definite failure; waiting before each INSERT would cost every append a
// round trip through the cluster.
func (galera) append(ctx context.Context, a attempt) (log.Timestamp, error) {
	at, err := a.run(ctx)
	for try := 0; try < lagTries && errors.Is(err, log.ErrConflict) && a.usable() && a.lagged(ctx); try++ {
		at, err = a.run(ctx)
	}
	return at, err
}

func (galera) unsynced() string {
	return "the Galera node does not sync its log at each commit: acknowledged writes survive the loss of a node, " +
		"but not of all nodes at once; to change that, set innodb_flush_log_at_trx_commit = 1 on all nodes"
}
