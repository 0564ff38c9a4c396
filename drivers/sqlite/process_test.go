package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/logstructured/log"
)

// processEnv names a file, and makes the test binary append to it.
const processEnv = "STELE_TEST_APPEND_TO"

func TestMain(m *testing.M) {
	if path := os.Getenv(processEnv); path != "" {
		fmt.Fprintln(os.Stderr, appendForever(path))
		return
	}
	m.Run()
}

// appendForever appends, and writes to stdout the appends that it begins and those that were acknowledged.
func appendForever(path string) error {
	ctx := context.Background()
	l, err := Open(ctx, path, Options{Logger: quiet(), CheckpointInterval: 10 * time.Millisecond})
	if err != nil {
		return err
	}
	for {
		id, rows := log.AppendID(rand.Int64()|1), 1+rand.IntN(20)
		fmt.Printf("begin %d %d 0\n", id, rows)
		for {
			end, err := l.End(ctx)
			if err != nil {
				return err
			}
			err = l.Append(ctx, end.Head, id, drivertest.BenchEntries(rows))
			if errors.Is(err, log.ErrConflict) {
				continue
			}
			if err != nil {
				return err
			}
			fmt.Printf("done %d %d %d\n", id, rows, end.Position+1)
			break
		}
		if rand.N(50) == 0 {
			end, err := l.End(ctx)
			if err != nil {
				return err
			}
			// These positions have never existed: only the lock matters here.
			if err := l.Delete(ctx, log.Head{}, []log.Position{end.Position + 1_000_000}, 0); err != nil {
				return err
			}
		}
	}
}

// processes collects the output of all appenders.
type processes struct {
	mu    sync.Mutex
	begun map[log.AppendID]int          // rows
	done  map[log.AppendID]log.Position // first position
}

// start runs an appender. The returned function kills it, and returns when all its output was read.
func (p *processes) start(t *testing.T, path string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), processEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var what string
			var id log.AppendID
			var rows int
			var position log.Position
			if _, err := fmt.Sscan(lines.Text(), &what, &id, &rows, &position); err != nil {
				continue // killed in the middle of the line
			}
			p.mu.Lock()
			switch what {
			case "begin":
				p.begun[id] = rows
			case "done":
				p.done[id] = position
			}
			p.mu.Unlock()
		}
	}()
	return func() {
		_ = cmd.Process.Kill()
		<-read
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
			t.Errorf("an appender ended by itself: %v", err)
		}
	}
}

func (p *processes) acknowledged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.done)
}

// TestProcesses appends to one file from two processes, and from a third that is killed repeatedly.
func TestProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	p := &processes{begun: map[log.AppendID]int{}, done: map[log.AppendID]log.Position{}}
	var killers []func()
	for range 2 {
		killers = append(killers, p.start(t, path))
	}
	const kills = 20
	for range kills {
		kill := p.start(t, path)
		want := p.acknowledged() + 20
		deadline, tick := time.After(30*time.Second), time.NewTicker(time.Millisecond)
		for p.acknowledged() < want {
			select {
			case <-deadline:
				t.Fatal("no appends get through")
			case <-tick.C:
			}
		}
		tick.Stop()
		kill()
	}
	for _, kill := range killers {
		kill()
	}
	l, err := Open(context.Background(), path, Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	if result, err := l.writer.c.strings(`PRAGMA integrity_check`); err != nil || len(result) != 1 ||
		result[0] != "ok" {
		t.Errorf("integrity_check: %v, %v", result, err)
	}
	var entries []log.Entry
	if _, err := l.Scan(context.Background(), 0, func(batch []log.Entry) error {
		entries = append(entries, batch...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	acknowledged, inDoubt := len(p.done), 0
	for i := 0; i < len(entries); {
		e := entries[i]
		rows, begun := p.begun[e.ID]
		if !begun || e.Position != log.Position(i+1) || i+rows > len(entries) {
			t.Fatalf("row %d is %d/%d (begun: %v, once), %d rows of %d", i, e.Position, e.ID, begun, rows, len(entries))
		}
		delete(p.begun, e.ID)
		if position, done := p.done[e.ID]; !done {
			inDoubt++
		} else if position != e.Position {
			t.Fatalf("append %d was acknowledged at %d and is at %d", e.ID, position, e.Position)
		}
		delete(p.done, e.ID)
		for n := range rows {
			if entries[i+n].ID != e.ID {
				t.Fatalf("append %d is not whole", e.ID)
			}
		}
		i += rows
	}
	if len(p.done) > 0 {
		t.Errorf("%d acknowledged appends are lost", len(p.done))
	}
	t.Logf("%d kills, %d appends acknowledged, all there once; %d of those that were not acknowledged are there too",
		kills, acknowledged, inDoubt)
}
