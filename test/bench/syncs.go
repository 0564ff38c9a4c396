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
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// syncCall matches a line of `strace -f -ttt` that enters a sync: pid, seconds since the epoch, call.
var syncCall = regexp.MustCompile(`(?m)^\d+ +(\d+\.\d+) (?:fsync|fdatasync|sync_file_range|msync)\(`)

// countSyncs runs c under strace for a moment and returns how many syncs it makes for a single write, when the
// writes come one at a time: at least 1 if acknowledged means durable. It returns nil if there is no strace here.
func (b *bench) countSyncs(ctx context.Context, c contender, binary string) (_ *float64, err error) {
	strace, err := exec.LookPath("strace")
	if errors.Is(err, exec.ErrNotFound) || b.syncWrites == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, c.name+"-strace")
	trace := filepath.Join(dir, "trace")
	// -D makes the server, not strace, the child of this process.
	p, err := launch(c, binary, dir, strace, "-D", "-f", "-qq", "-ttt", "-e", "trace=fsync,fdatasync,sync_file_range,msync", "-o", trace)
	if err != nil {
		return nil, err
	}
	from, until, err := b.writeOneByOne(ctx, p)
	if err := errors.Join(err, p.stop()); err != nil {
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

func (b *bench) writeOneByOne(ctx context.Context, p *process) (from, until time.Time, err error) {
	client, err := newClient(p.address, 1)
	if err != nil {
		return from, until, err
	}
	defer func() { err = errors.Join(err, client.close()) }()
	if err := p.waitReady(ctx, client); err != nil {
		return from, until, err
	}
	kv, value := client.kv(0), newValue()
	from = time.Now()
	for n := range b.syncWrites {
		if _, err := kv.Put(ctx, &pb.PutRequest{Key: appendKey(nil, "/registry/sync/", uint64(n)), Value: value}); err != nil {
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
