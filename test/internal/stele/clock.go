package stele

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-db/stele/test/internal/process"
)

// Clock is the environment variable with the offset of the clock of a [Shifted] binary ("-1h"). The monotonic clock is
// correct.
const Clock = "STELE_TEST_CLOCK"

// The replacements in the standard library of the shifted binary.
const (
	now     = "sec, nsec, mono := runtimeNow()\n"
	shifted = now + "\tsec += testShift\n"
	shift   = `
var testShift = func() int64 {
	text, _ := syscall.Getenv("` + Clock + `")
	d, _ := ParseDuration(text)
	return int64(d / Second)
}()
`
	noImports = "import (\n"
)

// Shifted returns the path of a stele binary whose clock can be shifted. A Go program reads the clock without a library
// that could be replaced, so the binary is built with another time.Now.
func Shifted(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	text := string(source)
	_, body, _ := strings.Cut(text, "func Now() Time {")
	if !strings.HasPrefix(strings.TrimSpace(body), strings.TrimSpace(now)) || !strings.Contains(text, noImports) {
		t.Fatalf("time.Now of this version of Go is unknown")
	}
	at := len(text) - len(body)
	text = text[:at] + strings.Replace(body, now, shifted, 1) + shift
	text = strings.Replace(text, noImports, noImports+"\t\"syscall\"\n", 1)

	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{changed: []byte(text), overlay: replace} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return process.Program{
		Name: "stele-shifted", Package: "./cmd/stele", Dir: "..", Race: process.RaceEnabled, Overlay: overlay,
	}.Binary(t, dir)
}
