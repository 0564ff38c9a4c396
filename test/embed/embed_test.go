package embed

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
)

const (
	kines = `"github.com/k3s-io/kine/pkg/`
	ours  = `"github.com/stele-db/stele/pkg/`
)

// build builds the program, with or without replaced imports.
func build(t *testing.T, name string, replace bool) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, name)
	args := []string{"build", "-trimpath", "-o", binary}
	if replace {
		args = append(args, "-overlay", overlay(t, dir))
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./program")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return binary
}

// overlay returns a file for `go build -overlay` that replaces the import paths in the program's files.
func overlay(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob("program/*.go")
	if err != nil {
		t.Fatal(err)
	}
	replaced, imports := map[string]string{}, 0
	write := func(path string, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		absolute, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		imports += strings.Count(string(content), kines)
		replaced[absolute] = filepath.Join(dir, filepath.Base(file))
		write(replaced[absolute], bytes.ReplaceAll(content, []byte(kines), []byte(ours)))
	}
	if imports < 4 {
		t.Fatalf("replaced %d imports", imports)
	}
	list, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	write(path, list)
	return path
}

// run runs binary in an empty directory on the database, or on the default one if endpoint is empty, and returns its
// output.
func run(t *testing.T, binary, endpoint string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "embed") // short, for the socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := exec.CommandContext(t.Context(), binary)
	if endpoint != "" {
		cmd.Args = append(cmd.Args, endpoint)
	}
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var printed, logged bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &logged // kine's client logs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", filepath.Base(binary), err, printed.String(), logged.String())
	}
	return printed.String()
}

func TestOnlyTheImportPathChanges(t *testing.T) {
	kine, stele := build(t, "kine", false), build(t, "stele", true)
	for _, kind := range []string{"sqlite", database.Postgres} {
		t.Run(kind, func(t *testing.T) {
			endpoint := func() string { return "" }
			if kind != "sqlite" {
				server := database.Shared(t, kind)
				endpoint = func() string { return server.DSN(t) }
			}
			want, got := run(t, kine, endpoint()), run(t, stele, endpoint())
			t.Logf("the program prints\n%s", got)
			if got != want {
				t.Errorf("with kine it prints\n%s", want)
			}
		})
	}
}
