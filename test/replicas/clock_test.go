package replicas

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/stele"
)

// clockDatabase creates a database on a PostgreSQL server whose clock the test can set: its functions shadow the
// server's.
func clockDatabase(t *testing.T) (dsn string, set func(ahead time.Duration)) {
	t.Helper()
	s := database.Shared(t, database.Postgres)
	name := s.Database(t)
	dsn = s.In(s.Env(t, "DSN"), name)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	exec := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	exec(`CREATE SCHEMA wrong; CREATE TABLE wrong.clock AS SELECT '0'::interval AS ahead`)
	for _, function := range []string{"statement_timestamp", "clock_timestamp"} {
		exec(`CREATE FUNCTION wrong.` + function + `() RETURNS timestamptz LANGUAGE sql VOLATILE AS
			'SELECT pg_catalog.` + function + `() + (SELECT ahead FROM wrong.clock)'`)
	}
	exec(`ALTER DATABASE ` + name + ` SET search_path = wrong, pg_catalog, public`)
	return dsn, func(ahead time.Duration) {
		t.Helper()
		exec(fmt.Sprintf(`UPDATE wrong.clock SET ahead = '%d seconds'`, int(ahead.Seconds())))
	}
}

// TestDatabaseClockSet sets the database's clock an hour ahead and back. A replica that starts must not expire keys
// early, and a killed replica must leave the member list although its last heartbeat is in the future.
func TestDatabaseClockSet(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	dsn, set := clockDatabase(t)
	list := start(t, 2, stele.Options{Endpoint: dsn})
	const ttl = 6 * time.Second
	put := func(key string, ttl time.Duration) (deleted clientv3.WatchChan, written time.Time) {
		t.Helper()
		lease, err := list[0].client.Grant(ctx, int64(ttl.Seconds()))
		if err != nil {
			t.Fatal(err)
		}
		written = time.Now()
		put, err := list[0].client.Put(ctx, key, "v", clientv3.WithLease(lease.ID))
		if err != nil {
			t.Fatal(err)
		}
		return list[0].client.Watch(ctx, key, clientv3.WithRev(put.Header.Revision+1)), written
	}
	short, written := put("short", ttl)
	put("long", 30*time.Minute)
	set(time.Hour)
	starts := start(t, 1, stele.Options{Endpoint: dsn, Args: []string{"--name", "late"}})
	starts[0].name = "late"
	awaitDeletion(ctx, t, short, written, ttl)
	if got, err := starts[0].client.Get(ctx, "long"); err != nil || got.Count != 1 {
		t.Errorf("a key with a TTL of half an hour: %v, %v", got, err)
	}
	all := append(list, starts...)
	agree(ctx, t, noticed, all...)

	if err := list[1].Kill(); err != nil {
		t.Fatal(err)
	}
	set(0)
	took := agree(ctx, t, forgotten, list[0], starts[0])
	t.Logf("a replica that was killed before the clock was set back was gone after %v", took)
}

func awaitDeletion(ctx context.Context, t *testing.T, events clientv3.WatchChan, written time.Time, ttl time.Duration) {
	t.Helper()
	select {
	case r := <-events:
		if took := time.Since(written); took < ttl || r.Err() != nil || len(r.Events) != 1 {
			t.Errorf("a key with a TTL of %v was deleted after %v: %v, %v", ttl, took, r.Events, r.Err())
		}
	case <-ctx.Done():
		t.Errorf("a key with a TTL of %v was not deleted", ttl)
	}
}
