package postgres

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

// limitedRole creates a role with a limited number of connections, and returns the DSN of a database that it owns.
func limitedRole(t *testing.T, name string, connections string) (s *database.Server, dsn string) {
	t.Helper()
	s = database.Shared(t, kind())
	dsn = s.DSN(t)
	execute(t, s, "", "CREATE ROLE "+name+" LOGIN PASSWORD '"+name+"' CONNECTION LIMIT "+connections,
		"ALTER DATABASE "+quote(databaseOf(t, dsn))+" OWNER TO "+name)
	t.Cleanup(func() {
		execute(t, s, "", "DROP DATABASE IF EXISTS "+quote(databaseOf(t, dsn))+" WITH (FORCE)", "DROP ROLE "+name)
	})
	return s, as(t, dsn, name, name)
}

// TestTwoConnectionsSuffice limits the role to so few connections that the calls have to share them, also after all of
// them were lost.
func TestTwoConnectionsSuffice(t *testing.T) {
	s, dsn := limitedRole(t, "limited_to_two", "2")
	l := mustOpen(t, dsn)
	ctx := within(t, time.Minute)
	listening, stopListening := context.WithCancel(ctx)
	var traffic sync.WaitGroup
	defer traffic.Wait()
	defer stopListening()
	traffic.Go(func() {
		for listening.Err() == nil {
			_ = l.Listen(listening, func() {})
			<-time.After(10 * time.Millisecond)
		}
	})
	head := log.Head{}
	write := func() {
		t.Helper()
		for {
			id := head.ID + 1
			err := l.Append(ctx, head, id, onePut("value"))
			if err == nil || errors.Is(err, log.ErrConflict) {
				head = log.Head{Position: head.Position + 1, ID: id}
				return
			}
			// An append whose connection was lost may have taken effect, so repeat it.
			if !errors.Is(err, log.ErrUnknown) && ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	write()
	for range 8 {
		traffic.Go(func() {
			for listening.Err() == nil {
				if _, err := l.Values(ctx, []log.Position{1}); err != nil && listening.Err() == nil &&
					!staleConnection(err) {
					t.Errorf("Values: %v", err)
				}
				if _, err := l.End(ctx); err != nil && listening.Err() == nil && !staleConnection(err) {
					t.Errorf("End: %v", err)
				}
			}
		})
	}
	for range 3 {
		for range 20 {
			write()
		}
		execute(t, s, "", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'limited_to_two'")
		write()
	}
}

// TestOneConnectionIsTooFew expects the reason in the error of opening.
func TestOneConnectionIsTooFew(t *testing.T) {
	_, dsn := limitedRole(t, "limited_to_one", "1")
	l, err := Open(within(t, 2*time.Second), dsn, driver.Options{Logger: quiet()})
	if err == nil {
		t.Error(l.Close())
	}
	if !errors.Is(err, log.ErrNoConnection) || !strings.Contains(err.Error(), "limited_to_one") ||
		!strings.Contains(err.Error(), connect.TooManyConnections) {
		t.Errorf("the error is %v", err)
	}
}

// TestNoConnectionForAppending takes the connection for appending away. End must fail, because the log cannot be
// written.
func TestNoConnectionForAppending(t *testing.T) {
	s, dsn := limitedRole(t, "limited_later", "2")
	l := mustOpen(t, dsn)
	head := log.Head{Position: 1, ID: 7}
	if err := l.Append(within(t, 10*time.Second), log.Head{}, 7, onePut("value")); err != nil {
		t.Fatal(err)
	}
	execute(t, s, "", "ALTER ROLE limited_later CONNECTION LIMIT 1")
	_, unlock, err := l.lockWriter(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	l.dropWriter()
	unlock()
	if err := l.Append(within(t, time.Second), head, 8, onePut("value")); !errors.Is(err, log.ErrNoConnection) {
		t.Errorf("Append: %v", err)
	}
	if _, err := l.End(within(t, time.Second)); !errors.Is(err, log.ErrNoConnection) {
		t.Errorf("End: %v", err)
	}
	execute(t, s, "", "ALTER ROLE limited_later CONNECTION LIMIT 2")
	if _, err := l.End(within(t, 10*time.Second)); err != nil {
		t.Errorf("End, with the connection: %v", err)
	}
	if err := l.Append(within(t, 10*time.Second), head, 8, onePut("value")); err != nil {
		t.Errorf("Append, with the connection: %v", err)
	}
}
