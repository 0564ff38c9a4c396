package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

// limitedUser creates a user with a limited number of connections, and returns the DSN of a new database.
func limitedUser(t *testing.T, name string, connections int) (s *database.Server, dsn string) {
	t.Helper()
	s = database.Shared(t, kind())
	db := s.Database(t)
	t.Cleanup(func() { admin(t, s, "DROP USER IF EXISTS "+name+"@'127.0.0.1'") })
	admin(t, s,
		fmt.Sprintf("CREATE USER %s@'127.0.0.1' IDENTIFIED BY 'secret' WITH MAX_USER_CONNECTIONS %d", name,
			connections),
		"GRANT ALL ON "+db+".* TO "+name+"@'127.0.0.1'")
	return s, "mysql://" + name + ":secret@tcp(" + s.Address(1) + ")/" + db
}

// TestTwoConnectionsSuffice limits the user to so few connections that the calls have to share them, also after the one
// for appending was lost.
func TestTwoConnectionsSuffice(t *testing.T) {
	_, dsn := limitedUser(t, "two", 2)
	l := openLog(t, dsn)
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	head := mustAppend(t, l, log.Head{}, drivertest.BenchEntries(1))
	reading, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	for range 8 {
		readers.Go(func() {
			for reading.Err() == nil {
				if _, err := l.Values(ctx, []log.Position{1}); err != nil {
					t.Errorf("Values: %v", err)
				}
				if _, err := l.End(ctx); err != nil {
					t.Errorf("End: %v", err)
				}
			}
		})
	}
	for range 3 {
		for range 20 {
			head = mustAppend(t, l, head, drivertest.BenchEntries(1))
		}
		w, err := l.lockWriter(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.s.Close()
		l.writer <- nil
	}
	mustAppend(t, l, head, drivertest.BenchEntries(1))
}

// TestOneConnectionIsTooFew expects the reason in the error of opening.
func TestOneConnectionIsTooFew(t *testing.T) {
	_, dsn := limitedUser(t, "one", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	l, err := Open(ctx, dsn, driver.Options{Logger: quiet()})
	if err == nil {
		t.Error(l.Close())
	}
	if !errors.Is(err, log.ErrNoConnection) || !strings.Contains(err.Error(), connect.TooManyConnections) {
		t.Errorf("the error is %v", err)
	}
}

// TestNoConnectionForAppending takes the connection for appending away. End must fail, because the log cannot be
// written.
func TestNoConnectionForAppending(t *testing.T) {
	s, dsn := limitedUser(t, "later", 2)
	l := openLog(t, dsn)
	defer func() { _ = l.Close() }()
	within := func(d time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		t.Cleanup(cancel)
		return ctx
	}
	head := mustAppend(t, l, log.Head{}, drivertest.BenchEntries(1))
	if _, err := l.End(within(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	admin(t, s, "ALTER USER later@'127.0.0.1' WITH MAX_USER_CONNECTIONS 1")
	w, err := l.lockWriter(within(10 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	_ = w.s.Close()
	l.writer <- nil
	if err := l.Append(within(time.Second), head, 8, drivertest.BenchEntries(1)); !errors.Is(err, log.ErrNoConnection) {
		t.Errorf("Append: %v", err)
	}
	if _, err := l.End(within(time.Second)); !errors.Is(err, log.ErrNoConnection) {
		t.Errorf("End: %v", err)
	}
	admin(t, s, "ALTER USER later@'127.0.0.1' WITH MAX_USER_CONNECTIONS 2")
	if _, err := l.End(within(10 * time.Second)); err != nil {
		t.Errorf("End, with the connection: %v", err)
	}
	if err := l.Append(within(10*time.Second), head, 8, drivertest.BenchEntries(1)); err != nil {
		t.Errorf("Append, with the connection: %v", err)
	}
}
