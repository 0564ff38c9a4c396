package database

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func query(s *Server, dsn string) error {
	if s.postgres() {
		return execPostgres(dsn, "CREATE TABLE t (x int)")
	}
	return execMySQL(dsn, "CREATE TABLE t (x int)")
}

func TestServers(t *testing.T) {
	for _, kind := range []string{Postgres, MariaDB} {
		t.Run(kind, func(t *testing.T) {
			s := Shared(t, kind)
			if Shared(t, kind) != s {
				t.Fatal("the second call gave another server")
			}
			dsn := s.DSN(t)
			if other := s.DSN(t); other == dsn {
				t.Fatalf("two databases have the DSN %s", dsn)
			}
			if !strings.HasPrefix(dsn, s.Env(t, "DSN")[:8]) {
				t.Errorf("the DSN is %s", dsn)
			}
			if err := query(s, dsn); err != nil {
				t.Fatal(err)
			}
			s.Backup(t, "one")
			s.Kill(t, 1)
			if c, err := net.Dial("tcp", s.Address(1)); err == nil {
				c.Close()
				t.Error("connected to a killed server")
			}
			s.Restart(t, 1)
			// The table is there, and in a fresh database it is not.
			if err := query(s, dsn); err == nil {
				t.Error("a table was lost")
			}
			fresh := s.DSN(t)
			if err := query(s, fresh); err != nil {
				t.Error(err)
			}
			s.Pause(t, 1)
			done := make(chan error, 1)
			go func() { done <- query(s, s.In(fresh, "stele")) }()
			select {
			case err := <-done:
				t.Errorf("a paused server answered: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
			s.Continue(t, 1)
			if err := <-done; err != nil {
				t.Error(err)
			}
			s.Restore(t, "one")
			if err := query(s, fresh); err == nil {
				t.Error("a database survived that is younger than the backup")
			}
			if err := query(s, dsn); err == nil || !strings.Contains(fmt.Sprint(err), "exists") {
				t.Errorf("a table of the backup: %v", err)
			}
		})
	}
}
