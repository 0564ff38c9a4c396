package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stele-db/stele/logstructured/log"
)

// schemaRow is version and compatible.
func schemaRow(t *testing.T, path string) [2]int64 {
	t.Helper()
	c, err := openConn(path, create, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	row, err := c.int64s(`SELECT version, compatible FROM stele_schema`, 2)
	if err != nil || len(row) != 2 {
		t.Fatalf("%v, %v", row, err)
	}
	return [2]int64{row[0], row[1]}
}

func TestSchemas(t *testing.T) {
	newest := int64(len(scripts))
	for name, test := range map[string]struct {
		change string
		want   [2]int64
	}{
		"this version's": {``, [2]int64{newest, compatible}},
		"from before there was a column": {`ALTER TABLE stele_schema DROP COLUMN compatible`,
			[2]int64{newest, compatible}},
		"from before there were checksums": {`ALTER TABLE stele_log DROP COLUMN checksum`,
			[2]int64{newest, compatible}},
		"a newer one that goes on with this": {`UPDATE stele_schema SET version = 1000`, [2]int64{1000, compatible}},
		"a newer one that needs exactly this": {
			`UPDATE stele_schema SET version = 1000, compatible = (SELECT version FROM stele_schema)`,
			[2]int64{1000, newest},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			makeLog(t, path)
			makeDB(t, path, test.change)
			for range 2 { // the second time there is nothing to do
				l, err := Open(context.Background(), path, Options{Logger: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				entries := 0
				if _, err := l.Scan(context.Background(), 0, func(batch []log.Entry) error {
					entries += len(batch)
					return nil
				}); err != nil || entries != 300 {
					t.Errorf("%d entries, %v", entries, err)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if got := schemaRow(t, path); got != test.want {
					t.Errorf("version and compatible are %v, want %v", got, test.want)
				}
			}
		})
	}
}
