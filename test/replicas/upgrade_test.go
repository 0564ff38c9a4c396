package replicas

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

// newerMigrations are the additional migrations of the newer version, by driver. They only add, and they change tables
// in use.
var newerMigrations = map[string]string{
	"postgres": `
ALTER TABLE {prefix}_log ADD COLUMN IF NOT EXISTS newer bigint;
ALTER TABLE {prefix}_replica ADD COLUMN IF NOT EXISTS newer text NOT NULL DEFAULT 'x';
CREATE TABLE IF NOT EXISTS {prefix}_newer (one bigint PRIMARY KEY);
`,
	"mysql": `
ALTER TABLE stele_log ADD COLUMN IF NOT EXISTS newer BIGINT;
ALTER TABLE stele_replica ADD COLUMN IF NOT EXISTS newer BIGINT NOT NULL DEFAULT 0;
CREATE TABLE IF NOT EXISTS stele_newer (one BIGINT PRIMARY KEY);
`,
}

// newer builds a version with one more migration in every driver.
func newer(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	overlay, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "stele-newer")
	files, replace := map[string]string{}, map[string]string{}
	for driver, script := range newerMigrations {
		file := filepath.Join(dir, driver+".sql")
		files[file] = script
		migrations := filepath.Join(root, "drivers", driver, "migrations")
		present, err := os.ReadDir(migrations)
		if err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(migrations, fmt.Sprintf("%04d_newer.sql", len(present)+1))] = file
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	files[overlay] = string(text)
	for file, content := range files {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The race detector is off: the code is that of the older version, which has it.
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", binary, "./cmd/stele")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the newer version: %v\n%s", err, out)
	}
	return binary
}

// migrated reports whether the database has the newer version's column.
func migrated(ctx context.Context, t *testing.T, dsn string) bool {
	t.Helper()
	driver := "pgx"
	if rest, ok := strings.CutPrefix(dsn, "mysql://"); ok {
		driver, dsn = "mysql", rest
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.PingContext(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(ctx, "SELECT newer FROM stele_log WHERE position = 1")
	return err == nil
}

// TestRollingUpgrade replaces two replicas, one after the other, by a version that changes the tables, while clients
// write and watch.
func TestRollingUpgrade(t *testing.T) {
	binary := newer(t)
	inParallel(t, func(t *testing.T, kind string) {
		ctx := bounded(t)
		dsn := database.Shared(t, kind).DSN(t)
		older, younger := stele.Options{Endpoint: dsn}, stele.Options{Endpoint: dsn, Binary: binary}
		servers := []*stele.Server{
			stele.New(t, older), stele.New(t, older), stele.New(t, younger), stele.New(t, younger),
		}
		launch := func(i int) {
			t.Helper()
			if err := servers[i].Launch(ctx); err != nil {
				t.Fatal(err)
			}
			// The replica itself accepts writes.
			if _, err := connect.Client(t, servers[i].Target).Put(ctx, "w/launched", "v"); err != nil {
				t.Fatalf("server %d: %v", i, err)
			}
		}
		stop := func(i int) {
			t.Helper()
			if err := servers[i].Stop(); err != nil {
				t.Errorf("server %d: %v", i, err)
			}
		}
		var all []string
		for _, s := range servers {
			all = append(all, s.Target)
		}
		launch(0)
		launch(1)
		writing := write(t, "w/", connect.Client(t, all...), connect.Client(t, all...))
		watchers := []*recorder{
			record(t, "one of all", connect.Client(t, all...), "w/", 2),
			record(t, "the second older one", connect.Client(t, servers[1].Target), "w/", 2),
		}
		progress := func() {
			t.Helper()
			r, err := connect.Client(t, all...).Get(ctx, "w/")
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range watchers {
				w.reaches(t, r.Header.Revision+20, 30*time.Second)
			}
		}
		progress()
		if migrated(ctx, t, dsn) {
			t.Fatal("the older version has the newer one's tables")
		}
		launch(2)
		if !migrated(ctx, t, dsn) {
			t.Fatal("the newer version did not change the tables")
		}
		// The older replicas continue, and can restart.
		progress()
		stop(0)
		launch(0)
		progress()
		// The replicas are replaced one after the other.
		stop(0)
		launch(3)
		progress()
		watchers = append(watchers, record(t, "a newer one", connect.Client(t, servers[3].Target), "w/", 2))
		progress()
		watchers = append(watchers[:1], watchers[2:]...)
		stop(1)
		progress()
		writing.stop()
		for _, w := range watchers {
			w.reaches(t, writing.revision, 20*time.Second)
		}
		writing.check(ctx, t, connect.Client(t, servers[2].Target), "w/")
		t.Logf("%d writes acknowledged, %d not; the longest time without one was %v", len(writing.acknowledged),
			writing.failed, writing.silence.Round(time.Millisecond))
	})
}
