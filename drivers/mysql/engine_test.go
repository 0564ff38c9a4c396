package mysql

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/stele-db/stele/logstructured/log"
)

func TestEngineOfServer(t *testing.T) {
	for _, test := range []struct {
		has  map[string]string
		want engine
	}{
		{map[string]string{"read_only": "0"}, innoDB{}},
		{map[string]string{"wsrep_on": "OFF", "wsrep_dirty_reads": "0"}, innoDB{}},
		{map[string]string{"wsrep_on": "ON"}, galera{}},
		{map[string]string{"tidb_retry_limit": "10"}, tiDB{}},
	} {
		if got := engineOf(test.has); got != test.want {
			t.Errorf("%v: %T, want %T", test.has, got, test.want)
		}
	}
}

// fakeAttempt is an append whose attempts have the given outcomes, of which the last one repeats.
type fakeAttempt struct {
	outcomes []error
	runs     int
	// broken reports that the connection is lost, behind that the node is behind the cluster, and own that the row
	// after the head is the append's own.
	broken, behind, own bool
}

func (a *fakeAttempt) run(context.Context) (log.Timestamp, error) {
	a.runs++
	return 7, a.outcomes[min(a.runs, len(a.outcomes))-1]
}

func (a *fakeAttempt) usable() bool                { return !a.broken }
func (a *fakeAttempt) lagged(context.Context) bool { return a.behind }

func (a *fakeAttempt) retried(_ context.Context, err error) error {
	if errors.Is(err, log.ErrConflict) && a.own {
		return log.ErrUnknown
	}
	return err
}

func TestEnginesRepeatAppends(t *testing.T) {
	blocked := fmt.Errorf("%w: %w", log.ErrUnknown, &mysql.MySQLError{Number: errTiKVWriteConflict})
	for name, test := range map[string]struct {
		engine  engine
		attempt fakeAttempt
		runs    int
		want    error
	}{
		"InnoDB, conflict": {innoDB{}, fakeAttempt{outcomes: []error{log.ErrConflict}, behind: true}, 1,
			log.ErrConflict},
		"InnoDB, write conflict": {innoDB{}, fakeAttempt{outcomes: []error{blocked}}, 1, log.ErrUnknown},
		"Galera, conflict": {galera{}, fakeAttempt{outcomes: []error{log.ErrConflict}}, 1,
			log.ErrConflict},
		"Galera, node behind": {galera{}, fakeAttempt{outcomes: []error{log.ErrConflict, nil}, behind: true},
			2, nil},
		"Galera, node behind for long": {galera{}, fakeAttempt{outcomes: []error{log.ErrConflict}, behind: true},
			1 + lagTries, log.ErrConflict},
		"Galera, connection lost": {galera{}, fakeAttempt{outcomes: []error{log.ErrConflict}, behind: true,
			broken: true}, 1, log.ErrConflict},
		"TiDB, conflict": {tiDB{}, fakeAttempt{outcomes: []error{log.ErrConflict}, own: true}, 1,
			log.ErrConflict},
		"TiDB, blocked once": {tiDB{}, fakeAttempt{outcomes: []error{blocked, nil}}, 2, nil},
		"TiDB, blocked for long": {tiDB{}, fakeAttempt{outcomes: []error{blocked}}, 1 + contendedTries,
			log.ErrUnknown},
		"TiDB, lost after being blocked": {tiDB{}, fakeAttempt{outcomes: []error{blocked, log.ErrConflict}}, 2,
			log.ErrConflict},
		"TiDB, the first attempt stands": {tiDB{}, fakeAttempt{outcomes: []error{blocked, log.ErrConflict}, own: true},
			2, log.ErrUnknown},
		"TiDB, connection lost": {tiDB{}, fakeAttempt{outcomes: []error{blocked}, broken: true}, 1,
			log.ErrUnknown},
	} {
		at, err := test.engine.append(t.Context(), &test.attempt)
		if test.attempt.runs != test.runs || !errors.Is(err, test.want) || test.want == nil && (at != 7 || err != nil) {
			t.Errorf("%s: %v after %d attempts, want %v after %d", name, err, test.attempt.runs, test.want, test.runs)
		}
	}
}
