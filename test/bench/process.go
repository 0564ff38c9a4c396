package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	startTimeout = time.Minute
	stopTimeout  = 20 * time.Second
)

// process is a running server.
type process struct {
	pid     int
	address string
	// dir holds only the process's data.
	dir string
	// log is the file with the process's output.
	log    string
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // Wait's, to be read after exited was closed
}

// launch starts binary as c on a free loopback port, with the command wrapper in front unless that is empty. Its data
// directory is below dir, and is created if it is missing. at gives the database and the replica. launch does not wait
// until the server is ready.
func launch(c contender, binary, dir string, at place, wrapper ...string) (_ *process, err error) {
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
	at.dir, at.address, at.peer = p.dir, address, peer
	command := append(wrapper, append([]string{binary}, c.args(at)...)...)
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Dir = p.dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = ownGroup()
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

// ownGroup keeps the terminal's Ctrl-C from a child: this process ends its children in order.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// freeAddresses returns two loopback addresses on which no process listens.
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

// stop ends the process gracefully, and by SIGKILL if that takes too long. Both signals go to its pid.
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
		return nil // the exit code after SIGTERM differs between servers, and does not matter here
	case <-time.After(stopTimeout):
		err := p.cmd.Process.Kill()
		<-p.exited
		return errors.Join(fmt.Errorf("pid %d ignored SIGTERM for %s", p.pid, stopTimeout), err)
	}
}

// kill ends the process by SIGKILL.
func (p *process) kill() error {
	select {
	case <-p.exited:
		return fmt.Errorf("the server had ended by itself: %w; it said:\n%s", p.err, p.lastWords())
	default:
	}
	err := p.cmd.Process.Kill()
	<-p.exited
	return err
}

// lastWords returns the end of the server's output.
func (p *process) lastWords() string {
	const enough = 2000
	out, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(out[max(0, len(out)-enough):])
}

// waitReady returns when the server of kv answers a linearizable read.
func (p *process) waitReady(ctx context.Context, kv pb.KVClient) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := revision(ctx, kv)
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
