package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// syncCall matches a line of `strace -f -ttt` that enters a sync: pid, seconds since the epoch, call.
var syncCall = regexp.MustCompile(`(?m)^\d+ +(\d+\.\d+) (?:fsync|fdatasync|sync_file_range|msync)\(`)

// countSyncs runs t's server, or its database if it has one, under strace for a moment, and returns the number of syncs
// per write when writes are sent one by one: at least 1 if acknowledged writes are durable. It returns nil if strace is
// missing.
func (b *bench) countSyncs(ctx context.Context, t *target, binary string) (_ *float64, err error) {
	strace, err := exec.LookPath("strace")
	if errors.Is(err, exec.ErrNotFound) || b.syncWrites == 0 || t.processes() > 1 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, t.name+"-strace")
	trace := filepath.Join(dir, "trace")
	command := []string{strace, "-f", "-qq", "-ttt", "-e", "trace=fsync,fdatasync,sync_file_range,msync", "-o", trace}
	detach := func() error { return nil }
	at := place{replica: 1}
	if t.database == nil {
		// -D makes the server, not strace, the child of this process.
		command = append(command, "-D")
	} else {
		at.dsn = t.database.in("syncs")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if detach, err = attach(ctx, command, t.database.pid); errors.Is(err, errNotAttached) {
			_, _ = fmt.Fprintf(b.progress, "the syncs of %s are not counted: %v\n", t.title, err)
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		command = nil
	}
	p, err := launch(t.contender, binary, dir, at, command...)
	if err != nil {
		return nil, errors.Join(err, detach())
	}
	from, until, err := b.writeOneByOne(ctx, p)
	if err := errors.Join(err, p.stop(), detach()); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		return nil, err
	}
	syncs, err := countBetween(text, from, until)
	if err != nil {
		return nil, err
	}
	perWrite := float64(syncs) / float64(b.syncWrites)
	return &perWrite, os.RemoveAll(dir)
}

// errNotAttached means that strace may not trace a process, or has ended.
var errNotAttached = errors.New("strace cannot attach")

// attach traces the process pid and its descendants with the command, an strace, until the returned function is called.
func attach(ctx context.Context, command []string, pid int) (detach func() error, err error) {
	members := family(pid)
	for _, member := range members {
		command = append(command, "-p", strconv.Itoa(member))
	}
	var said bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = ownGroup()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it ends by the signal that it is sent
		close(exited)
	}()
	detach = func() error {
		select {
		case <-exited:
			return fmt.Errorf("%w: it ended: %s", errNotAttached, said.Bytes())
		default:
		}
		err := cmd.Process.Signal(syscall.SIGINT)
		<-exited
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if traced(members) {
			return detach, nil
		}
		select {
		case <-exited:
			return nil, fmt.Errorf("%w: %s", errNotAttached, said.Bytes())
		case <-ctx.Done():
			return nil, errors.Join(errNotAttached, ctx.Err(), detach())
		case <-tick.C:
		}
	}
}

const attachTimeout = 10 * time.Second

// traced reports whether all threads of the processes have a tracer; processes that have ended do not count.
func traced(pids []int) bool {
	for _, pid := range pids {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			continue
		}
		for _, thread := range threads {
			tracer, err := numberIn(fmt.Sprintf("/proc/%d/task/%s/status", pid, thread.Name()), "TracerPid:")
			if err == nil && tracer == 0 {
				return false
			}
		}
	}
	return true
}

func (b *bench) writeOneByOne(ctx context.Context, p *process) (from, until time.Time, err error) {
	client, err := newClient([]string{p.address}, 1)
	if err != nil {
		return from, until, err
	}
	defer func() { err = errors.Join(err, client.close()) }()
	kv, value := client.kv(0), newValue()
	if err := p.waitReady(ctx, kv); err != nil {
		return from, until, err
	}
	from = time.Now()
	for n := range b.syncWrites {
		if _, err := kv.Put(ctx,
			&pb.PutRequest{Key: appendKey(nil, "/registry/sync/", uint64(n)), Value: value}); err != nil {
			return from, until, err
		}
	}
	return from, time.Now(), nil
}

// countBetween counts the lines of a trace that enter a sync in [from, until].
func countBetween(trace []byte, from, until time.Time) (int, error) {
	count := 0
	for _, m := range syncCall.FindAllSubmatch(trace, -1) {
		whole, micros, _ := bytes.Cut(m[1], []byte("."))
		s, err := strconv.ParseInt(string(whole), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("strace's time %q: %w", m[1], err)
		}
		us, err := strconv.ParseInt(string(micros), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("strace's time %q: %w", m[1], err)
		}
		if at := time.Unix(s, us*1000); !at.Before(from.Truncate(time.Microsecond)) && !at.After(until) {
			count++
		}
	}
	return count, nil
}
