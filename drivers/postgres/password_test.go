package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

// TestPasswordChanges changes the password on the server and in its file, in either order, and cuts all connections
// after each step.
func TestPasswordChanges(t *testing.T) {
	s := database.Shared(t, kind())
	name := s.Database(t)
	execute(t, s, name, "CREATE ROLE rotating LOGIN PASSWORD 'one'", "GRANT ALL ON SCHEMA public TO rotating")
	t.Cleanup(func() { execute(t, s, name, "DROP OWNED BY rotating", "DROP ROLE rotating") })
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	l, err := Open(within(t, 10*time.Second), as(t, s.In(s.Env(t, "DSN"), name), "rotating", "unused"),
		driver.Options{Logger: quiet(), Options: connect.Options{PasswordFile: file}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	listening, stop := context.WithCancel(within(t, time.Minute))
	defer stop()
	woken := make(chan struct{}, 100)
	go func() {
		for listening.Err() == nil {
			_ = l.Listen(listening, func() { woken <- struct{}{} })
		}
	}()
	awaitWake := func() {
		select {
		case <-woken:
		case <-time.After(10 * time.Second):
			t.Error("no subscription")
		}
	}
	awaitWake()
	alter := func(password string) { execute(t, s, "", "ALTER ROLE rotating PASSWORD '"+password+"'") }
	var head log.Head
	works := func() error {
		if _, err := l.End(within(t, 10*time.Second)); err != nil {
			return err
		}
		next := log.Head{Position: head.Position + 1, ID: head.ID + 1}
		err := l.Append(within(t, 10*time.Second), head, next.ID, onePut("v"))
		if err == nil {
			head = next
		}
		return err
	}
	for i, step := range []struct {
		change func()
		// refused means that neither password is the server's.
		refused bool
	}{
		{func() {}, false},
		{func() { write("two") }, false},
		{func() { alter("two") }, false},
		{func() { alter("three") }, true},
		{func() { write("three") }, false},
		{func() { write("") }, false},
		{func() { _ = os.Remove(file) }, false},
		{func() { alter("four"); write("four") }, false},
	} {
		step.change()
		execute(t, s, "", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotating'")
		err := works()
		switch {
		case step.refused && (err == nil || errors.Is(err, log.ErrUnknown)):
			t.Errorf("step %d: %v, want a definite error", i, err)
		case !step.refused && err != nil:
			t.Errorf("step %d: %v", i, err)
		case !step.refused:
			awaitWake()
		}
	}
}
