package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestErrorText checks that errors of opening a file are one line that begins with the cause.
func TestErrorText(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("some text\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged.db")
	makeLog(t, damaged)
	damage(t, damaged, 100, 3000)
	below := filepath.Join(text, "state.db")
	for path, want := range map[string]string{
		text: "file is not a database (SQLite code 26) (sqlite: open " + text +
			"); name another file, or restore this one from a backup",
		damaged: "database disk image is malformed (SQLite code 11) (sqlite: open " + damaged +
			"); the file is damaged: restore it from a backup",
		below: "not a directory, stat " + below + " (sqlite: examine " + below + ")",
		dir:   dir + " is a directory: name a file in it, such as " + dir + "/state.db",
		"/proc/none/state.db": "no such file or directory, mkdir /proc/none " +
			"(sqlite: create the directory of /proc/none/state.db)",
	} {
		l, err := Open(context.Background(), path, Options{Logger: quiet()})
		if err == nil {
			_ = l.Close()
			t.Errorf("%s: no error", path)
			continue
		}
		if got := err.Error(); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}
