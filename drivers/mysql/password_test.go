package mysql

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

// TestPasswordChanges changes the password on the server and in its file, in either order, and cuts all connections
// after each step.
func TestPasswordChanges(t *testing.T) {
	s := database.Shared(t, kind())
	name := s.Database(t)
	admin(t, s, "CREATE USER rotating@'127.0.0.1' IDENTIFIED BY 'one'", "GRANT ALL ON "+name+
		".* TO rotating@'127.0.0.1'")
	t.Cleanup(func() { admin(t, s, "DROP USER rotating@'127.0.0.1'") })
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	l, err := Open(t.Context(), "mysql://rotating:unused@tcp("+s.Address(1)+")/"+name,
		driver.Options{Logger: quiet(), Options: connect.Options{PasswordFile: file}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	alter := func(password string) { admin(t, s, "ALTER USER rotating@'127.0.0.1' IDENTIFIED BY '"+password+"'") }
	var head log.Head
	works := func() error {
		if _, err := l.End(t.Context()); err != nil {
			return err
		}
		next := log.Head{Position: head.Position + 2, ID: head.ID + 1}
		err := l.Append(t.Context(), head, next.ID, drivertest.BenchEntries(2))
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
		killConnections(t, s, "rotating")
		switch err := works(); {
		case step.refused && (err == nil || errors.Is(err, log.ErrUnknown)):
			t.Errorf("step %d: %v, want a definite error", i, err)
		case !step.refused && err != nil:
			t.Errorf("step %d: %v", i, err)
		}
	}
}

// killConnections ends all connections of a user.
func killConnections(t *testing.T, s *database.Server, user string) {
	t.Helper()
	var ids []string
	list := func(c *session) error {
		ids = nil
		return c.query(context.Background(), "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '"+user+"'",
			nil, func(row []sqldriver.Value) error {
				ids = append(ids, text(row[0]))
				return nil
			})
	}
	for asAdmin(t, s, list); len(ids) > 0; asAdmin(t, s, list) {
		for _, id := range ids {
			asAdmin(t, s, func(c *session) error {
				if err := c.execute(context.Background(), "KILL "+id); err != nil && number(err) != 1094 { // it is gone
					return err
				}
				return nil
			})
		}
	}
}
