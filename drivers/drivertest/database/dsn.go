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

// DSN creates an empty database that lives as long as t. It returns its DSN, with the scheme, for a user who owns the
// database. With several nodes it is the DSN that an operator would use: all nodes of [PostgresSync], the pooler of
// [PgBouncer], and the first node of [Galera].
func (s *Server) DSN(t testing.TB) string {
	t.Helper()
	return s.In(s.Env(t, "DSN"), s.Database(t))
}

// In returns a DSN of this server, such as one from Env, with another database.
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

// Database creates an empty database that lives as long as t, and returns its name.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%016x", rand.Uint64())
	if err := s.admin("CREATE DATABASE " + name + s.owner()); err != nil {
		t.Fatalf("make a database: %v", err)
	}
	t.Cleanup(func() {
		// The server may be stopped, or its standby may be the primary now. Remaining data are deleted with the server.
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

// force returns the option that closes remaining connections of tests and poolers.
func (s *Server) force() string {
	if s.postgres() {
		return " WITH (FORCE)"
	}
	return ""
}

// admin executes a statement as the superuser, on the first node that accepts it.
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

// Through creates an empty database that lives as long as t. It returns a DSN that leads through a proxy, and one that
// does not. With several nodes, both lead to the node that a driver would find first.
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

// ThroughEach creates an empty database that lives as long as t. It returns a DSN like DSN's in which every node is
// behind a proxy of its own (node 1 at index 0).
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
