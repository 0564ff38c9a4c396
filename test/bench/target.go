package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// target is a running contender.
type target struct {
	contender
	version string
	// database is nil if the contender needs none.
	database *databaseServer
	// procs are its processes: one, or the replicas.
	procs  []*process
	client *client
	slots  int
}

// launch starts all processes of t, whose database runs if it needs one, with their data below dir, and waits until
// they are ready.
func (t *target) launch(ctx context.Context, binary, dir string, connections int) error {
	var addresses []string
	for n := range t.processes() {
		at := place{replica: n + 1}
		if t.database != nil {
			at.dsn = t.database.dsn
		}
		p, err := launch(t.contender, binary, filepath.Join(dir, fmt.Sprint(n+1)), at)
		if err != nil {
			return err
		}
		t.procs = append(t.procs, p)
		addresses = append(addresses, p.address)
	}
	var err error
	if t.client, err = newClient(addresses, connections); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for n, p := range t.procs {
		g.Go(func() error { return p.waitReady(ctx, t.client.kv(n)) })
	}
	return g.Wait()
}

// kill ends t's processes by SIGKILL, but not its database. They can be launched again.
func (t *target) kill() error {
	var errs []error
	if t.client != nil {
		errs = append(errs, t.client.close())
		t.client = nil
	}
	for _, p := range t.procs {
		errs = append(errs, p.kill())
	}
	t.procs = nil
	return errors.Join(errs...)
}

// usage returns the usage of all processes, including the database's. If the device of dir has a counter, its bytes
// replace those of the processes: the kernel charges a process with all of a large page for a change to a part of it,
// which is a hundred times the written bytes when Postgres fills its log.
func (t *target) usage(dir string) (usage, error) {
	sum, err := t.processUsage()
	if err != nil {
		return usage{}, err
	}
	written, err := deviceWritten(dir)
	if written > 0 {
		sum.written = written
	}
	return sum, err
}

func (t *target) processUsage() (usage, error) {
	var sum usage
	for _, p := range t.procs {
		u, err := usageOf(p.pid)
		if err != nil {
			return usage{}, err
		}
		sum = sum.plus(u)
	}
	if t.database == nil {
		return sum, nil
	}
	u, err := t.database.usage()
	return sum.plus(u), err
}

// diskSize returns the number of bytes of its files.
func (t *target) diskSize() (int64, error) {
	var sum int64
	var dirs []string
	for _, p := range t.procs {
		dirs = append(dirs, p.dir)
	}
	if t.database != nil {
		dirs = append(dirs, t.database.root)
	}
	for _, dir := range dirs {
		size, err := diskSize(dir)
		if err != nil {
			return 0, err
		}
		sum += size
	}
	return sum, nil
}

// stop ends all processes, also of an incomplete target.
func (t *target) stop() error {
	var errs []error
	if t.client != nil {
		errs = append(errs, t.client.close())
	}
	for _, p := range t.procs {
		errs = append(errs, p.stop())
	}
	if t.database != nil {
		errs = append(errs, t.database.stop())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop %s: %w", t.title, err)
	}
	return nil
}
