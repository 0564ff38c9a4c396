package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/stele-db/stele/drivers/drivertest/proxy"
)

// DSN makes an empty database that lives as long as t and returns its DSN, with the scheme, for a user who owns it.
// Where there are several nodes it is the DSN that a product would be given: all nodes of [PostgresSync], the pooler of
// [PgBouncer], and the first node of [Galera].
func (s *Server) DSN(t testing.TB) string {
	t.Helper()
	return s.In(s.Env(t, "DSN"), s.Database(t))
}

// In returns a DSN of this server (one of its Env, say) with another database.
func (s *Server) In(dsn, database string) string {
	user, address, _ := strings.Cut(dsn, "@")
	address, options, _ := strings.Cut(address, "?")
	host, _, _ := strings.Cut(address, "/")
	dsn = user + "@" + host + "/" + database
	if options != "" {
		dsn += "?" + options
	}
	return dsn
}

// Database makes an empty database that lives as long as t, and returns its name.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%016x", rand.Uint64())
	if err := s.admin("CREATE DATABASE " + name + s.owner()); err != nil {
		t.Fatalf("make a database: %v", err)
	}
	t.Cleanup(func() {
		// The server may be gone, or its standby the primary now: what is left is thrown away with the server.
		if err := s.admin("DROP DATABASE IF EXISTS " + name + s.force()); err != nil {
			t.Logf("drop the test's database: %v", err)
		}
	})
	return name
}

func (s *Server) postgres() bool {
	return s.Kind == PgBouncer || strings.HasPrefix(s.Kind, Postgres)
}

func (s *Server) owner() string {
	if s.postgres() {
		return " OWNER stele"
	}
	return ""
}

// force closes the connections that tests and poolers still have.
func (s *Server) force() string {
	if s.postgres() {
		return " WITH (FORCE)"
	}
	return ""
}

// admin executes a statement as the superuser, on the first node that takes it.
func (s *Server) admin(statement string) (err error) {
	for node := range s.Nodes() {
		dsn := s.env[fmt.Sprintf("ADMIN_DSN_%d", node+1)]
		if s.postgres() {
			err = execPostgres(dsn, statement)
		} else {
			err = execMySQL(dsn, statement)
		}
		if err == nil || s.Kind == PgBouncer {
			return err
		}
	}
	return err
}

const adminTimeout = 10 * time.Second

func execPostgres(dsn, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, statement)
	return errors.Join(err, c.Close(ctx))
}

func execMySQL(dsn, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	config, err := mysql.ParseDSN(strings.TrimPrefix(dsn, "mysql://"))
	if err != nil {
		return err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	_, err = db.ExecContext(ctx, statement)
	return errors.Join(err, db.Close())
}

// Through makes an empty database that lives as long as t, and returns a DSN that leads to it through a proxy, and one
// that does not. Of several nodes, both lead to the one that a driver would find first.
func (s *Server) Through(t testing.TB) (through, direct string, p *proxy.Proxy) {
	t.Helper()
	node := 1
	if s.Kind == PgBouncer {
		node = 2
	}
	direct = s.In(s.Env(t, fmt.Sprintf("DSN_%d", node)), s.Database(t))
	p = proxy.Start(t, s.Address(node))
	return strings.Replace(direct, s.Address(node), p.Address(), 1), direct, p
}

// ThroughEach makes an empty database that lives as long as t, and returns what DSN returns, with every node (from 1,
// at index 0) behind a proxy of its own.
func (s *Server) ThroughEach(t testing.TB) (dsn string, proxies []*proxy.Proxy) {
	t.Helper()
	dsn = s.DSN(t)
	for node := range s.Nodes() {
		p := proxy.Start(t, s.Address(node+1))
		dsn = strings.Replace(dsn, s.Address(node+1), p.Address(), 1)
		proxies = append(proxies, p)
	}
	return dsn, proxies
}
