package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// makeDB runs SQL on a file.
func makeDB(t testing.TB, path string, sql string) {
	t.Helper()
	c, err := openConn(path, create, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.script(sql); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

// makeLog makes a log with a few hundred entries.
func makeLog(t *testing.T, path string) {
	t.Helper()
	l, err := Open(context.Background(), path, Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 300, 100)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents reads all files of a directory, except SQLite's shared memory and empty files next to the database.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasSuffix(e.Name(), "-shm") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 || e.Name() == "state.db" {
			files[e.Name()] = string(data)
		}
	}
	return files
}

// unprivileged runs f without root's right to write every file.
func unprivileged(t *testing.T, f func()) {
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := syscall.Setfsuid(65534); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func TestOpenErrors(t *testing.T) {
	none := func(*testing.T, string) {}
	for _, test := range []struct {
		name    string
		make    func(t *testing.T, path string)
		nobody  bool
		want    string // a part of the sentence
		wantErr error
	}{
		{name: "directory", make: func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}, want: "is a directory: name a file in it"},
		{name: "not a database", make: func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("some text\n"), 1000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, want: "file is not a database (SQLite code 26)", wantErr: log.ErrCorrupt},
		{name: "damaged", make: func(t *testing.T, path string) {
			makeLog(t, path)
			damage(t, path, 100, 3000)
		}, want: "is damaged: restore it from a backup", wantErr: log.ErrCorrupt},
		{name: "newer schema", make: func(t *testing.T, path string) {
			makeLog(t, path)
			makeDB(t, path, `UPDATE stele_schema SET version = 1000, compatible = 999`)
		}, want: "was changed by a newer version of Stele to schema 1000, which a version that knows schema 999 can " +
			"use, and this one knows only 2: run a newer version"},
		{name: "no schema version", make: func(t *testing.T, path string) {
			makeLog(t, path)
			makeDB(t, path, `DELETE FROM stele_schema`)
		}, want: "without a schema version", wantErr: log.ErrCorrupt},
		{name: "foreign", make: func(t *testing.T, path string) {
			makeDB(t, path, `CREATE TABLE invoices (id INTEGER); INSERT INTO invoices VALUES (1)`)
		}, want: `is the database of another program (it has a table "invoices" and no Stele log)`},
		{name: "kine", make: func(t *testing.T, path string) {
			makeDB(t, path,
				`PRAGMA journal_mode = WAL;
				CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
				INSERT INTO kine (name) VALUES ('/a')`)
		}, want: "holds a table kine and no log of Stele", wantErr: connect.ErrKine},
		{name: "read-only file", nobody: true, make: func(t *testing.T, path string) {
			makeLog(t, path)
			chmod(t, path, 0o444)
			chmod(t, filepath.Dir(path), 0o777)
		}, want: "cannot be written: make the file and its directory writable", wantErr: log.ErrReadOnly},
		{name: "read-only directory", nobody: true, make: func(t *testing.T, path string) {
			makeLog(t, path)
			chmod(t, path, 0o666)
			chmod(t, filepath.Dir(path), 0o555)
			t.Cleanup(func() { chmod(t, filepath.Dir(path), 0o755) })
		}, want: "cannot be written: make the file and its directory writable", wantErr: log.ErrReadOnly},
		{name: "directory where nothing can be created", nobody: true, make: func(t *testing.T, path string) {
			chmod(t, filepath.Dir(path), 0o555)
			t.Cleanup(func() { chmod(t, filepath.Dir(path), 0o755) })
		}, want: "cannot be written: make the file and its directory writable", wantErr: log.ErrReadOnly},
		{name: "memory", make: none, want: "is not the path of a file"},
		{name: "unknown option", make: none, want: `unknown option "chekpoint"`},
		{name: "wrong option", make: none, want: "the only value is external"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			chmod(t, filepath.Dir(dir), 0o755) // nobody has to get here
			path := filepath.Join(dir, "state.db")
			test.make(t, path)
			before := contents(t, dir)
			dsn := map[string]string{"memory": ":memory:", "unknown option": path + "?chekpoint=x",
				"wrong option": path + "?checkpoint=x"}[test.name]
			if dsn == "" {
				dsn = path
			}
			var l *Log
			var err error
			open := func() { l, err = Open(context.Background(), dsn, Options{Logger: quiet()}) }
			if test.nobody {
				unprivileged(t, open)
			} else {
				open()
			}
			if err == nil {
				_ = l.Close()
				t.Fatal("no error")
			}
			t.Log(err)
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %q, want one line with %q", err, test.want)
			}
			if dsn == path && !strings.Contains(err.Error(), path) {
				t.Errorf("error %q does not name the path", err)
			}
			if test.wantErr != nil && !errors.Is(err, test.wantErr) {
				t.Errorf("error %q is not %q", err, test.wantErr)
			}
			if after := contents(t, dir); !maps.Equal(before, after) {
				t.Errorf("files were %v and are %v, or their contents changed", slices.Collect(maps.Keys(before)),
					slices.Collect(maps.Keys(after)))
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// damage overwrites a piece of a file.
func damage(t *testing.T, path string, off int64, n int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, n), off); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	makeLog(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for off := int64(20 * pageSize); off < info.Size()-10*pageSize; off += pageSize {
		damage(t, path, off, pageSize)
	}
	l, err := Open(context.Background(), path, Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err) // the end can be read
	}
	defer func() { _ = l.Close() }()
	ctx := context.Background()
	if _, err := l.Scan(ctx, 0, func([]log.Entry) error { return nil }); !errors.Is(err, log.ErrCorrupt) {
		t.Errorf("Scan: %v", err)
	}
	if _, _, err := l.Read(ctx, 0, 1000); !errors.Is(err, log.ErrCorrupt) {
		t.Errorf("Read: %v", err)
	}
}

func TestCreatedPrivately(t *testing.T) {
	base := t.TempDir()
	path := filepath.Join(base, "some", "where", "state.db")
	l, err := Open(context.Background(), path, Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	fill(t, l, 1, 1)
	for name, want := range map[string]os.FileMode{
		"some": 0o700, "some/where": 0o700, "some/where/state.db": 0o600, "some/where/state.db-wal": 0o600,
		"some/where/state.db-shm": 0o600,
	} {
		info, err := os.Stat(filepath.Join(base, name))
		if err != nil {
			t.Error(err)
		} else if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
}

func TestPathsAreTakenLiterally(t *testing.T) {
	for _, name := range []string{"with space.db", "100%.db", "a#b.db", "ü.db", "file:x.db", "a&b=c.db"} {
		dir := t.TempDir()
		l, err := Open(context.Background(), filepath.Join(dir, name), Options{Logger: quiet()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestKineOptions parses the DSNs of kine's unit files.
func TestKineOptions(t *testing.T) {
	cfg, ignored, err := parseDSN("./db/state.db?_journal_mode=WAL&_busy_timeout=30000&_synchronous=NORMAL&" +
		"_txlock=immediate&_stmt_cache_size=20&cache=shared")
	if err != nil || cfg.busyTimeout.Seconds() != 30 || cfg.externalCheckpoint ||
		fmt.Sprint(ignored) != "[_synchronous]" || !filepath.IsAbs(cfg.path) {
		t.Errorf("%+v, ignored %v, %v", cfg, ignored, err)
	}
	cfg, _, err = parseDSN("/x/state.db?" +
		"_kine_disable_compact_wal_checkpoint&_kine_disable_wal_autocheckpoint&busy_timeout=250ms")
	if err != nil || cfg.busyTimeout.Milliseconds() != 250 || !cfg.externalCheckpoint || cfg.path != "/x/state.db" {
		t.Errorf("%+v, %v", cfg, err)
	}
	for _, bad := range []string{"", "?checkpoint=external", ":memory:", "x?busy_timeout=-1s", "x?busy_timeout=soon",
		"x?mode=ro", "x?checkpoint=passive"} {
		if _, _, err := parseDSN(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// TestOptionsOfOtherDrivers passes the options of the drivers that kine can be built with.
func TestOptionsOfOtherDrivers(t *testing.T) {
	for _, test := range [][2]string{
		{"mode=rwc&_journal=WAL", ""},
		{"mode=rw", ""},
		{"_sync=OFF", "_sync"},
		{"_sync=2", ""},
		{"_synchronous=1", "_synchronous"},
		{"_journal=DELETE", "_journal"},
		{"_locking=EXCLUSIVE", "_locking"},
		{"_secure_delete=true", "_secure_delete"},
		{"_txlock=exclusive&_loc=auto&_cache_size=-2000&_fk=1&_mutex=no&_rt=1", ""},
		{"_cslike=0&_vacuum=1&_defer_fk=1&cache=shared&vfs=unix", ""},
		{"_foreign_keys=1&_case_sensitive_like=1&_recursive_triggers=1&_auto_vacuum=full&_defer_foreign_keys=1", ""},
		{"_ignore_check_constraints=1&_query_only=0&immutable=0&nolock=0&_writable_schema=0", ""},
		{"_time_format=sqlite&_time_integer_format=unix&_timezone=UTC&_inttotime=1&_texttotime=1&_error_rc=1&_dqs=0",
			""},
		{"_pragma=busy_timeout(7000)&_pragma=journal_mode(wal)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys=on",
			"_synchronous"},
		{"_pragma=wal_autocheckpoint(0)&_pragma=mmap_size(1)&_pragma=optimize", "_wal_autocheckpoint"},
	} {
		query, ignored := test[0], test[1]
		cfg, got, err := parseDSN("/x/state.db?" + query)
		if err != nil || strings.Join(got, ",") != ignored || cfg.path != "/x/state.db" || cfg.synchronous != "" ||
			cfg.vfs != "" {
			t.Errorf("%s: %+v, ignored %v, %v", query, cfg, got, err)
		}
		if want := 7 * time.Second; strings.Contains(query, "7000") && cfg.busyTimeout != want {
			t.Errorf("%s: busy timeout %v", query, cfg.busyTimeout)
		}
	}
	for query, reason := range map[string]string{
		"mode=ro":                      "writable",
		"mode=memory":                  "in a file",
		"mode=secret":                  "mode",
		"vfs=memdb":                    "vfs",
		"immutable=1":                  "writable",
		"nolock=1":                     "locked",
		"_query_only=true":             "writable",
		"_auth&_auth_user=u":           "_auth",
		"_auth_pass=secret":            "encryption",
		"_pragma=key('secret')":        "encryption",
		"_pragma=query_only(1)":        "writable",
		"_pragma=secret(1)&_txlock=x":  "_pragma",
		"_jurnal=WAL":                  "_jurnal",
		"_pragma=busy_timeout(-1)":     "negative",
		"sslmode=disable&cache=shared": "sslmode",
	} {
		_, _, err := parseDSN("/x/state.db?" + query)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v, want %q", query, err, reason)
		}
		if err != nil && strings.Contains(query, "pass=secret") && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the password is in %q", query, err)
		}
	}
}

// TestExternalCheckpoint checks that with checkpoint=external nothing is copied into the file, and that the WAL is
// never removed, not even by Close.
func TestExternalCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	makeLog(t, path)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(context.Background(), path+"?checkpoint=external", Options{Logger: quiet(), CheckpointInterval: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	head := fill(t, l, 500, 50)
	if err := l.Delete(ctx, log.Head{}, []log.Position{1, 2, 3}, 10); err != nil {
		t.Fatal(err)
	}
	if err := l.Defragment(ctx); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the database file was written to")
	}
	if info, err := os.Stat(path + "-wal"); err != nil || info.Size() < 500*1024 {
		t.Errorf("WAL after Close: %v, %v", info, err)
	}
	l, err = Open(ctx, path+"?checkpoint=external", Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if end, err := l.End(ctx); err != nil || end.Head != head {
		t.Errorf("end is %v, %v, want %v", end.Head, err, head)
	}
}

// TestLitestreamTables opens a file in which Litestream has created its own tables.
func TestLitestreamTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	makeDB(t, path,
		`CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
		CREATE TABLE _litestream_lock (id INTEGER)`)
	makeLog(t, path)
	makeLog(t, path)
}

func TestOpenWarnsOfOldWAL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	for _, name := range []string{path, path + "-wal"} {
		if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for age, want := range map[time.Duration]bool{0: false, walLag / 2: false, 2 * walLag: true} {
		then := time.Now().Add(-age)
		if err := os.Chtimes(path+"-wal", then, then); err != nil {
			t.Fatal(err)
		}
		var lines bytes.Buffer
		logger := logrus.New()
		logger.SetOutput(&lines)
		warnOldWAL(path, logrus.NewEntry(logger))
		if warned := strings.Contains(lines.String(), "remove the files -wal and -shm"); warned != want {
			t.Errorf("the write-ahead log is older by %s: warned %v, want %v", age, warned, want)
		}
	}
}
