package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = time.Minute
	stopTimeout  = 20 * time.Second
)

// process is a running server.
type process struct {
	pid     int
	address string
	// dir holds its data, and nothing else.
	dir string
	// log is the file with all that it printed.
	log    string
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // Wait's, to be read after exited was closed
}

// launch starts binary as c on a free loopback port with an empty data directory below dir, behind the command
// wrapper if that is not empty. It does not wait until the server is ready.
func launch(c contender, binary, dir string, wrapper ...string) (_ *process, err error) {
	p := &process{dir: filepath.Join(dir, "data"), log: filepath.Join(dir, "log"), exited: make(chan struct{})}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	address, peer, err := freeAddresses()
	if err != nil {
		return nil, err
	}
	p.address = address
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	command := append(wrapper, append([]string{binary}, c.args(p.dir, address, peer)...)...)
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Dir = p.dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.title, err)
	}
	p.pid = p.cmd.Process.Pid
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// freeAddresses returns two loopback addresses that nobody listens on.
func freeAddresses() (string, string, error) {
	var addresses [2]string
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", err
		}
		defer func() { _ = l.Close() }() // only held so that the two differ
		addresses[i] = l.Addr().String()
	}
	return addresses[0], addresses[1], nil
}

// stop ends the process gracefully, and by force if that takes too long. Both are aimed at its pid.
func (p *process) stop() error {
	select {
	case <-p.exited:
		return fmt.Errorf("the server had ended by itself: %w; it said:\n%s", p.err, p.lastWords())
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil // how a server exits on SIGTERM differs and does not matter here
	case <-time.After(stopTimeout):
		err := p.cmd.Process.Kill()
		<-p.exited
		return errors.Join(fmt.Errorf("pid %d ignored SIGTERM for %s", p.pid, stopTimeout), err)
	}
}

// lastWords is the end of what the server printed.
func (p *process) lastWords() string {
	const enough = 2000
	out, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(out[max(0, len(out)-enough):])
}

// usage is what a process has consumed since it started, and its resident size now.
type usage struct {
	cpu     time.Duration
	written int64 // bytes it caused to be written to a disk
	rss     int64
}

func (u usage) since(start usage) usage {
	return usage{cpu: u.cpu - start.cpu, written: u.written - start.written, rss: u.rss}
}

// userHZ is the unit of the times in /proc/PID/stat; Linux shows 100 on every architecture that Go runs on.
const userHZ = 100

// usage reads /proc, see proc(5).
func (p *process) usage() (usage, error) {
	var u usage
	root := "/proc/" + strconv.Itoa(p.pid)
	stat, err := os.ReadFile(root + "/stat")
	if err != nil {
		return u, err
	}
	// The command's name is in parentheses and may hold anything; the fields after it are numbered from 3.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 22 {
		return u, fmt.Errorf("%s/stat has %d fields", root, len(fields))
	}
	var ticks, pages int64
	for _, f := range []struct {
		index int
		sum   *int64
	}{{14, &ticks}, {15, &ticks}, {24, &pages}} {
		n, err := strconv.ParseInt(fields[f.index-3], 10, 64)
		if err != nil {
			return u, fmt.Errorf("%s/stat: %w", root, err)
		}
		*f.sum += n
	}
	u.cpu = time.Duration(ticks) * time.Second / userHZ
	u.rss = pages * int64(os.Getpagesize())
	io, err := os.ReadFile(root + "/io")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(io)) {
		if value, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			u.written, err = strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return u, err
		}
	}
	return u, fmt.Errorf("%s/io has no write_bytes", root)
}

// ownCPU is the CPU time of this process.
func ownCPU() (time.Duration, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0, err
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), nil
}

// waitReady returns when the server answers a linearizable read.
func (p *process) waitReady(ctx context.Context, c *client) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := c.revision(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("the server ended: %w; it said:\n%s", p.err, p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w; it said:\n%s", err, p.lastWords())
		case <-tick.C:
		}
	}
}
