package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// These kinds of servers are not in scripts/databases.
const (
	// SQLite is stele on a file.
	SQLite = "sqlite"
	// Etcd is etcd, the reference.
	Etcd = "etcd"
)

// Kind returns STELE_TEST_DATABASE, or SQLite if that is empty.
func Kind() string {
	if kind := os.Getenv("STELE_TEST_DATABASE"); kind != "" {
		return kind
	}
	return SQLite
}

// database is a database server that scripts/databases runs.
type database struct {
	dir string
	env map[string]string
}

const (
	// installTimeout includes the installation of the database's packages.
	installTimeout  = 8 * time.Minute
	databaseTimeout = time.Minute
)

func startDatabase(kind, dir string) (*database, error) {
	d := &database{dir: dir, env: map[string]string{}}
	if err := d.script(installTimeout, "start", kind, dir); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		d.env[name] = value
	}
	return d, nil
}

func (d *database) stop() error { return d.script(databaseTimeout, "stop", d.dir) }

// endpoint returns the DSN of a new database. Stele creates it, with the administrator's rights.
func (d *database) endpoint() string {
	dsn, options, ok := strings.Cut(d.env["ADMIN_DSN"], "?")
	dsn = dsn[:strings.LastIndex(dsn, "/")+1] + fmt.Sprintf("test_%016x", rand.Uint64())
	if ok {
		dsn += "?" + options
	}
	return dsn
}

// script runs scripts/databases. The servers that it starts end with this process at the latest.
func (*database) script(limit time.Duration, arguments ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(root(), "scripts", "databases"), arguments...)
	c.Env = append(os.Environ(), "DATABASES_OWNER="+strconv.Itoa(os.Getpid()))
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGINT) }
	c.WaitDelay = 30 * time.Second
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("scripts/databases %s: %w: %s", strings.Join(arguments, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// root returns the directory of the product. Tests run in the directory of their package, which is the one of this
// module.
func root() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return filepath.Join("..", "..")
	}
	return dir
}
