package up

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/port"
)

// page is the documentation whose commands are run. The script is its blocks fenced as bash, in order, in one shell in
// an empty directory. Each command must succeed.
const page = root + "/docs/kubernetes.md"

// prelude kills the programs of the page when the script ends. An API server without its store would take minutes to
// end.
const prelude = `set -euxo pipefail
trap 'exit 1' TERM INT
trap 'kill -KILL $(jobs -p) 2>/dev/null || true; wait || true' EXIT
`

func TestDocs(t *testing.T) {
	script := bytes.NewBufferString(prelude)
	for _, block := range blocks(t, "bash") {
		if strings.TrimSpace(block) == "scripts/kubernetes-up" {
			continue // TestUp runs it
		}
		script.WriteString(block)
	}
	text := script.String()
	for _, shown := range []string{"2379", "2381", "2391", "2392", "2393", "6443", "6444", "6445"} {
		_, free, err := net.SplitHostPort(port.Free(t))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, "127.0.0.1:"+shown) {
			t.Errorf("the page has no port %s any more", shown)
		}
		text = strings.ReplaceAll(text, shown, free)
	}
	const shown = "STELE_ENDPOINT=postgres://kube@db.example:5432/kube STELE_DATASTORE_PASSWORD=secret"
	if !strings.Contains(text, shown) {
		t.Errorf("the page has no %s any more", shown)
	}
	text = strings.ReplaceAll(text, shown, "STELE_ENDPOINT='"+database.Shared(t, database.Postgres).DSN(t)+"'")

	dir := t.TempDir()
	file := filepath.Join(dir, "page")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "output")
	output, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = output.Close() })
	cmd := exec.Command("timeout", "--kill-after=30", "400", "bash", file)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, output, output
	cmd.SysProcAttr = group()
	cmd.Env = environment("PATH="+programs(t)+":"+os.Getenv("PATH"), "HOME="+dir)
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		printed, _ := os.ReadFile(out)
		t.Fatalf("%v\n%s", err, printed)
	}
	t.Logf("the page took %v", time.Since(begin).Round(time.Second))
}

// blocks returns the blocks of the page with the given fence.
func blocks(t *testing.T, fence string) []string {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	inside := ""
	for line := range strings.Lines(string(content)) {
		info, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && inside == "":
			inside = info
			if inside == fence {
				found = append(found, "")
			}
		case isFence:
			inside = ""
		case inside == fence:
			found[len(found)-1] += line
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s has no blocks fenced as %s", page, fence)
	}
	return found
}
