package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// databaseServer is a private database server of one contender, started by scripts/databases.
type databaseServer struct {
	script string
	// dir identifies the server to the script.
	dir string
	// root has the server's files.
	root string
	pid  int
	dsn  string
}

// startDatabase starts a server of the kind, with its files below runDir, which must be on a disk. The path of runDir
// must be short, because the server's socket is there too.
func startDatabase(ctx context.Context, s settings, kind, runDir, dir string) (_ *databaseServer, err error) {
	script, err := filepath.Abs(filepath.Join(s.source, "scripts", "databases"))
	if err != nil {
		return nil, err
	}
	d := &databaseServer{script: script, dir: dir}
	// Another user runs the server if this process runs as root, and has temporary files of its own.
	files := filepath.Join(runDir, "db")
	if err := os.MkdirAll(files, 0o755); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(runDir, 0o711), os.Chmod(files, 0o777|os.ModeSticky)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, script, "start", kind, dir)
	// The script stops the server if this process is killed.
	cmd.Env = append(os.Environ(), "TMPDIR="+files, "DATABASES_OWNER="+strconv.Itoa(os.Getpid()))
	cmd.SysProcAttr = ownGroup()
	// The script cleans up after SIGTERM.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := runQuietly(cmd, dir+".log"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	text, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "DSN":
			d.dsn = value
		case "ROOT":
			d.root = value
		case "PID_1":
			if d.pid, err = strconv.Atoi(value); err != nil {
				return nil, err
			}
		}
	}
	if d.dsn == "" || d.root == "" || d.pid == 0 {
		return nil, fmt.Errorf("%s/env lacks DSN, ROOT or PID_1", dir)
	}
	return d, nil
}

// in returns the server's DSN with another database.
func (d *databaseServer) in(database string) string {
	user, address, _ := strings.Cut(d.dsn, "@")
	address, options, found := strings.Cut(address, "?")
	host, _, _ := strings.Cut(address, "/")
	if found {
		options = "?" + options
	}
	return user + "@" + host + "/" + database + options
}

// version returns the version that the server's program prints.
func (d *databaseServer) version(ctx context.Context) string {
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", d.pid))
	if err != nil {
		return "unknown"
	}
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(strings.TrimPrefix(string(out), filepath.Dir(program)+"/")), " ")
}

func (d *databaseServer) usage() (usage, error) {
	u, err := usageOfFamily(d.pid)
	u.database = u.cpu
	return u, err
}

// stop ends the server and removes its files. It must not be interrupted.
func (d *databaseServer) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.script, "stop", d.dir)
	cmd.SysProcAttr = ownGroup()
	return runQuietly(cmd, d.dir+".log")
}

// runQuietly runs cmd with its output in the file log. A pipe would stay open, because the processes that the script
// starts keep it.
func runQuietly(cmd *exec.Cmd, log string) (err error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Run(); err != nil {
		said, readErr := os.ReadFile(log)
		return errors.Join(fmt.Errorf("%s: %w; it said:\n%s", strings.Join(cmd.Args, " "), err, said), readErr)
	}
	return nil
}
