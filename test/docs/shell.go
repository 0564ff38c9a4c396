package docs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// shell is one bash and all processes started in it.
type shell struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
}

// root is the root of the source tree.
const root = "../.."

const endOfCommand = "--end-of-command--"

// newShell starts a shell in dir. It gets only the variables of the caller's environment that Go needs.
func newShell(dir string, env []string) (*shell, error) {
	s := &shell{cmd: exec.Command("bash", "--norc", "--noprofile"), lines: make(chan string)}
	s.cmd.Dir, s.cmd.Env = dir, env
	// The shell has its own process group, so that close reaches the servers in the background.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr = w, w
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	_ = w.Close()
	go func() {
		defer close(s.lines)
		scanner := bufio.NewScanner(r)
		for scanner.Scan() {
			s.lines <- scanner.Text()
		}
		_ = r.Close()
	}()
	return s, nil
}

// run runs a command and returns its output. A command that ends with & is a server in the background: its standard
// output is returned once it prints how to connect, without its log.
func (s *shell) run(text string, timeout time.Duration) (string, error) {
	if server, background := strings.CutSuffix(strings.TrimSpace(text), "&"); background {
		text = fmt.Sprintf("out=$(mktemp); %s >$out 2>&1 & until grep -q '  connect ' $out; do kill -0 $! || break; "+
			"sleep 0.05; done; "+
			"grep -v '^time=' $out; kill -0 $!", server)
	}
	// The command reads no input, or it would read the next command.
	if _, err := fmt.Fprintf(s.stdin, "{ %s\n} </dev/null; printf '\\n%s%%d\\n' $?\n", text, endOfCommand); err != nil {
		return "", err
	}
	var out strings.Builder
	late := time.After(timeout)
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				return out.String(), errors.New("the shell ended")
			}
			if status, isEnd := strings.CutPrefix(line, endOfCommand); isEnd {
				if code, err := strconv.Atoi(status); err != nil || code != 0 {
					return out.String(), fmt.Errorf("exit status %s", status)
				}
				return out.String(), nil
			}
			out.WriteString(line + "\n")
		case <-late:
			return out.String(), fmt.Errorf("not finished after %v", timeout)
		}
	}
}

// close ends the shell and all processes started in it.
func (s *shell) close() {
	_ = s.stdin.Close()
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM)
	kill := time.AfterFunc(10*time.Second, func() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) })
	defer kill.Stop()
	for range s.lines { // until the last process has closed its output
	}
	_ = s.cmd.Wait()
}
