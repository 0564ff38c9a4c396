package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSchema(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir, nil, "schema", "--print", "--endpoint=sqlite://state.db")
	if code := p.wait(); code != 0 || !strings.Contains(p.stdout.String(), "CREATE TABLE stele_log") ||
		p.stderr.String() != "" {
		t.Errorf("exit code %d", code)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	for range 2 { // the second run changes nothing
		p = launch(t, dir, []string{"STELE_ENDPOINT=sqlite://state.db"}, "schema")
		if code := p.wait(); code != 0 || p.stdout.String() != filepath.Join(dir, "state.db")+" is up to date\n" {
			t.Errorf("exit code %d", code)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "state.db")); err != nil {
		t.Error(err)
	}
}
