package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/drivers/internal/migrations"
	"github.com/stele-db/stele/logstructured/log"
)

// openList opens a log of a version with other migrations.
func openList(t *testing.T, dsn string, list []migrations.Migration) *Log {
	t.Helper()
	l, err := open(context.Background(), dsn, driver.Options{Logger: quiet()}, list)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// asAdmin runs f on a connection of the superuser.
func asAdmin(t testing.TB, s *database.Server, f func(*session) error) {
	t.Helper()
	cfg, err := parseDSN(s.Env(t, "ADMIN_DSN_1"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := newConnector(cfg, quiet(), 0)
	if err != nil {
		t.Fatal(err)
	}
	c.noDatabase = true
	conn, err := c.connect(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := f(conn); err != nil {
		t.Fatal(err)
	}
}

// admin runs statements as the superuser.
func admin(t testing.TB, s *database.Server, statements ...string) {
	t.Helper()
	asAdmin(t, s, func(c *session) error {
		for _, statement := range statements {
			if err := c.execute(context.Background(), statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	})
}

// variablesOf returns the values of the variables that the server has.
func variablesOf(t testing.TB, s *database.Server, names []string) (has map[string]string) {
	t.Helper()
	asAdmin(t, s, func(c *session) (err error) {
		has, err = c.variables(context.Background(), names...)
		return err
	})
	return has
}

// TestRollingUpgrade migrates to a newer version while an older one keeps working.
func TestRollingUpgrade(t *testing.T) {
	dsn := database.Shared(t, kind()).DSN(t)
	newer := append(append([]migrations.Migration{}, migrationList...),
		migrations.Migration{Statements: []migrations.Statement{
			{SQL: `ALTER TABLE {prefix}_log ADD COLUMN extra INT NOT NULL DEFAULT 7`},
			{SQL: `CREATE TABLE IF NOT EXISTS {prefix}_more (a INT PRIMARY KEY) ENGINE = InnoDB`},
		}})
	old := openList(t, dsn, migrationList)
	head := mustAppend(t, old, log.Head{}, drivertest.BenchEntries(3))
	upgraded := openList(t, dsn, newer)
	head = mustAppend(t, old, head, drivertest.BenchEntries(3))
	head = mustAppend(t, upgraded, head, drivertest.BenchEntries(200))
	head = mustAppend(t, old, head, drivertest.BenchEntries(3))
	restarted := openList(t, dsn, migrationList) // an older replica restarts
	openList(t, dsn, newer)                      // another new one finds nothing to do
	head = mustAppend(t, restarted, head, drivertest.BenchEntries(1))
	for _, l := range []*Log{old, upgraded, restarted} {
		entries, end, err := l.Read(context.Background(), 0, 1000)
		if err != nil || len(entries) != 210 || end.Head != head {
			t.Errorf("Read: %d entries, %v, %v", len(entries), end, err)
		}
	}
	incompatible := append(append([]migrations.Migration{}, newer...),
		migrations.Migration{Statements: []migrations.Statement{
			{SQL: `CREATE TABLE IF NOT EXISTS {prefix}_other (a INT PRIMARY KEY)`},
		}, Compatible: 3})
	openList(t, dsn, incompatible)
	if _, err := Open(context.Background(), dsn, driver.Options{Logger: quiet()}); err == nil ||
		!strings.Contains(err.Error(), "newer version of Stele") {
		t.Errorf("opening what needs a newer version: %v", err)
	}
}

// TestTwoPrefixes keeps two clusters in one database, which the first replica creates. Several replicas open each
// cluster concurrently.
func TestTwoPrefixes(t *testing.T) {
	s := database.Shared(t, kind())
	name := s.Database(t) + "_new"
	t.Cleanup(func() { admin(t, s, "DROP DATABASE "+name) })
	dsn := s.In(s.Env(t, "DSN"), name)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		logs = map[string][]*Log{}
	)
	for i := range 8 {
		prefix := []string{"one", "two_"}[i%2]
		wg.Go(func() {
			l, err := Open(context.Background(), dsn+"?table_prefix="+prefix, driver.Options{Logger: quiet()})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = l.Close() })
			mu.Lock()
			defer mu.Unlock()
			logs[prefix] = append(logs[prefix], l)
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	ids := map[uint64]bool{}
	for prefix, logs := range logs {
		head := mustAppend(t, logs[0], log.Head{}, drivertest.BenchEntries(len(prefix)))
		for _, l := range logs {
			end, err := l.End(context.Background())
			if err != nil || end.Head != head {
				t.Errorf("%s: %v, %v; want %v", prefix, end, err, head)
			}
			ids[end.ClusterID] = true
		}
	}
	if len(ids) != 2 {
		t.Errorf("%d cluster IDs for two logs", len(ids))
	}
}

// TestMissingRights opens the log as users with fewer and fewer privileges, and then as one for whom an administrator
// has run the statements of Schema.
func TestMissingRights(t *testing.T) {
	s := database.Shared(t, kind())
	name := s.Database(t)
	as := func(user, db string) string {
		return "mysql://" + user + ":secret@tcp(" + s.Address(1) + ")/" + db
	}
	t.Cleanup(func() { admin(t, s, "DROP USER IF EXISTS little@'127.0.0.1'") })
	admin(t, s, "CREATE USER little@'127.0.0.1' IDENTIFIED BY 'secret'", "GRANT SELECT, INSERT, UPDATE, DELETE ON "+
		name+".* TO little@'127.0.0.1'")
	open := func(dsn string) error {
		l, err := Open(context.Background(), dsn, driver.Options{Logger: quiet()})
		if err == nil {
			mustAppend(t, l, log.Head{}, drivertest.BenchEntries(2))
			_, err = l.Size(context.Background())
			err = errors.Join(err, l.Close())
		}
		return err
	}
	for dsn, want := range map[string]string{
		as("little", name):                                 "CREATE TABLE IF NOT EXISTS stele_log",
		as("little", name) + "?table_prefix=other":         "CREATE TABLE IF NOT EXISTS other_log",
		strings.Replace(as("little", name), ":se", ":", 1): "refuses the user",
	} {
		if err := open(dsn); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "secret") || !errors.Is(err, connect.ErrConfiguration) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	statements, err := Schema(as("little", name))
	if err != nil {
		t.Fatal(err)
	}
	admin(t, s, statements...)
	if err := open(as("little", name)); err != nil {
		t.Errorf("with everything prepared: %v", err)
	}
}

// TestOpenWarnsOfANewDatabase opens a log in a missing database, and again when it exists.
func TestOpenWarnsOfANewDatabase(t *testing.T) {
	s := database.Shared(t, kind())
	dsn := s.DSN(t)
	name := dsn[strings.LastIndexByte(dsn, '/')+1:]
	admin(t, s, "DROP DATABASE `"+name+"`")
	for _, want := range []bool{true, false} {
		logger, messages := logtest.NewNullLogger()
		l, err := Open(context.Background(), dsn, driver.Options{Logger: logrus.NewEntry(logger)})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if got := slices.ContainsFunc(messages.AllEntries(), func(e *logrus.Entry) bool {
			return e.Level == logrus.WarnLevel && strings.Contains(e.Message, "did not exist") &&
				e.Data["database"] == name
		}); got != want {
			t.Errorf("a warning of %s: %v, want %v", name, got, want)
		}
	}
}

// TestServerRefuses opens with endpoints and accounts that the server refuses until an administrator changes them.
func TestServerRefuses(t *testing.T) {
	s := database.Shared(t, kind())
	dsn := s.DSN(t)
	t.Cleanup(func() { admin(t, s, "DROP USER IF EXISTS locked@'127.0.0.1', expired@'127.0.0.1'") })
	admin(t, s, "CREATE USER locked@'127.0.0.1' IDENTIFIED BY 'secret' ACCOUNT LOCK",
		"CREATE USER expired@'127.0.0.1' IDENTIFIED BY 'secret' PASSWORD EXPIRE")
	as := func(user string) string { return "mysql://" + user + ":secret@tcp(" + s.Address(1) + ")/" }
	for name, dsn := range map[string]string{
		"account locked":   as("locked"),
		"password expired": as("expired"),
		"unknown user":     as("nobody"),
		"unknown option":   dsn + "?no_such_option=1",
		"wrong value":      dsn + "?sql_mode=%27none%27",
		"wrong type":       dsn + "?max_join_size=%27much%27",
		"fixed variable":   dsn + "?version=1",
		"global variable":  dsn + "?max_connections=9",
		"unknown charset":  dsn + "?charset=none",
	} {
		l, err := Open(context.Background(), dsn, driver.Options{Logger: quiet()})
		if err == nil {
			err = l.Close()
		}
		if !errors.Is(err, connect.ErrConfiguration) || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPacketTooSmall(t *testing.T) {
	s := database.Shared(t, kind())
	dsn := s.DSN(t)
	_, err := Open(context.Background(), dsn,
		driver.Options{Logger: quiet(), Options: connect.Options{MaxValueBytes: 64 << 20}})
	if err == nil || !strings.Contains(err.Error(), "max_allowed_packet") ||
		!strings.Contains(err.Error(), "SET GLOBAL") || !strings.Contains(err.Error(), "lower the limit of requests") {
		t.Errorf("values larger than packets: %v", err)
	}
	// The largest value that fits.
	admin(t, s, "SET GLOBAL max_allowed_packet = 2097152")
	t.Cleanup(func() { admin(t, s, "SET GLOBAL max_allowed_packet = DEFAULT") })
	const largest = 2097152 - packetReserve - rowBytes
	if _, err := Open(context.Background(), dsn,
		driver.Options{Logger: quiet(), Options: connect.Options{MaxValueBytes: largest + 1}}); err == nil {
		t.Error("one byte too much is accepted")
	}
	l, err := Open(context.Background(), dsn,
		driver.Options{Logger: quiet(), Options: connect.Options{MaxValueBytes: largest}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var head log.Head
	for _, size := range []int{largest, largest - 1000, largest / 2, 100_000} {
		entries := drivertest.BenchEntries(7)
		for i := range entries {
			entries[i].Value = make([]byte, size)
			entries[i].Value[size-1] = byte(i + 1)
		}
		head = mustAppend(t, l, head, entries[:1])
		head = mustAppend(t, l, head, entries)
		for i := range entries {
			v, err := l.Values(context.Background(), []log.Position{entries[i].Position})
			if err != nil || len(v.Values[0]) != size || v.Values[0][size-1] != byte(i+1) {
				t.Fatalf("value of %d bytes: %d bytes, %v", size, len(v.Values[0]), err)
			}
		}
	}
}
