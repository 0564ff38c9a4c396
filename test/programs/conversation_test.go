package programs

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"
)

// conversation is a program that reads commands and prints lines.
type conversation struct {
	commands io.Writer
	lines    chan string
	last     string
}

// converse starts a program, which ends with the test at the latest.
func converse(t *testing.T, program string, args ...string) *conversation {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &conversation{commands: in, lines: make(chan string, 1000)}
	go func() {
		defer close(c.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			c.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		for range c.lines { // until the program has closed its output
		}
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("%s: %v", program, err)
		}
	})
	return c
}

// send sends a command.
func (c *conversation) send(t *testing.T, command string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.commands, command); err != nil {
		t.Fatal(err)
	}
}

// await waits until the last line is want, and skips other lines. It also accepts the line that was read last.
func (c *conversation) await(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for c.last != want {
		select {
		case line, ok := <-c.lines:
			if !ok {
				t.Fatalf("the program ended; its last line is %q, not %q", c.last, want)
			}
			c.last = line
		case <-deadline:
			t.Fatalf("the last line is %q, not %q", c.last, want)
		}
	}
}

// silent fails the test if the program prints a line within d.
func (c *conversation) silent(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case line := <-c.lines:
		t.Errorf("%q follows %q", line, c.last)
	case <-time.After(d):
	}
}
