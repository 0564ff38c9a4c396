package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sys/unix"
)

// restartServers are the default servers whose restarts are measured.
const restartServers = "stele,stele-postgres,etcd"

// restartRow has the restarts of a server with a number of keys after SIGKILL.
type restartRow struct {
	Server  string `json:"server"`
	Title   string `json:"title"`
	Version string `json:"version"`
	Keys    int    `json:"keys"`
	// StoreSeconds is the time to store the keys.
	StoreSeconds float64 `json:"store_seconds"`
	// Warm and Dropped are milliseconds from the start of the process to its answer to a linearizable read, in each
	// round: with the files in the page cache, and without. A database server is not restarted: its files are dropped,
	// but not its own memory.
	Warm    []float64 `json:"warm_ms"`
	Dropped []float64 `json:"dropped_ms"`
	// The resident sizes are those with the keys just stored, and after the last start; Database is the part of a
	// database server at the end. Disk is the size of the files.
	RSSStored   int64  `json:"rss_stored"`
	RSSStarted  int64  `json:"rss_started"`
	RSSDatabase int64  `json:"rss_database,omitempty"`
	Disk        int64  `json:"disk"`
	Error       string `json:"error,omitempty"`
}

// parseRestarts parses a list of numbers of keys.
func parseRestarts(list string) ([]int, error) {
	if list == "" {
		return nil, nil
	}
	var out []int
	for field := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-restart: %q is not a number of keys", field)
		}
		out = append(out, n)
	}
	return out, nil
}

// restartComparison returns the servers of all comparisons as one comparison.
func restartComparison(of []comparison) (comparison, error) {
	out := comparison{name: "restart", title: "Restart"}
	for _, c := range of {
		for _, name := range c.servers {
			if found, _ := findContender(name); !found.batches {
				return out, fmt.Errorf("-restart: %s takes no transactions of many puts, and a million single puts "+
					"would take an hour", name)
			}
			if !slices.Contains(out.servers, name) {
				out.servers = append(out.servers, name)
			}
		}
	}
	return out, nil
}

// restart measures the restarts of every server with every number of keys. Failures are in the report.
func (b *bench) restart(ctx context.Context) (err error) {
	selected, err := selectContenders(b.servers)
	if err != nil {
		return err
	}
	if b.report, err = newReport(b.settings, b.comparison, b.dir); err != nil {
		return err
	}
	for _, keys := range b.restarts {
		set := newObjectSet("/registry/objects/", keys)
		for _, c := range selected {
			row := &restartRow{Server: c.name, Title: c.title, Keys: keys}
			b.report.Restarts = append(b.report.Restarts, row)
			if err := b.restartOf(ctx, c, set, row); ctx.Err() != nil {
				return ctx.Err()
			} else if err != nil {
				row.Error = err.Error()
			}
			_, _ = fmt.Fprintf(b.progress, "%s, %d keys: %s\n", row.Server, row.Keys, row)
		}
	}
	b.report.finish()
	return nil
}

func (r restartRow) String() string {
	if r.Error != "" {
		return "FAILED: " + r.Error
	}
	return fmt.Sprintf("stored in %.1f s, started in %.0f ms, without page cache in %.0f ms, %s MB resident",
		r.StoreSeconds, median(r.Warm), median(r.Dropped), megabytes(r.RSSStarted))
}

// restartOf measures one row.
func (b *bench) restartOf(ctx context.Context, c contender, set objectSet, row *restartRow) (err error) {
	binary, version, err := c.build(ctx, b.settings, filepath.Join(b.runDir, "bin"))
	if err != nil {
		return err
	}
	row.Version = version
	dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", c.name, len(set.keys)))
	t := &target{contender: c, version: version}
	defer func() { err = errors.Join(err, t.stop(), os.RemoveAll(dir)) }()
	if c.database != "" {
		if t.database, err = startDatabase(ctx, b.settings, c.database, b.runDir,
			filepath.Join(dir, "database")); err != nil {
			return err
		}
		b.report.Conditions.Database = t.database.version(ctx)
	}
	if err := t.launch(ctx, binary, dir, b.connections); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(b.progress, "storing %d keys in %s\n", len(set.keys), c.title)
	began := time.Now()
	if err := storeBatches(ctx, t.client, set, 0); err != nil {
		return err
	}
	row.StoreSeconds = time.Since(began).Seconds()
	stored, err := t.processUsage()
	if err != nil {
		return err
	}
	row.RSSStored = stored.rss
	revisionBefore, err := revision(ctx, t.client.kv(0))
	if err != nil {
		return err
	}
	for range b.rounds {
		for _, into := range []struct {
			millis *[]float64
			drop   bool
		}{{&row.Warm, false}, {&row.Dropped, true}} {
			took, err := b.startAgain(ctx, t, binary, dir, into.drop)
			if err != nil {
				return err
			}
			*into.millis = append(*into.millis, took)
			if err := survived(ctx, t.client, set, revisionBefore); err != nil {
				return fmt.Errorf("after a restart: %w", err)
			}
		}
	}
	started, err := t.processUsage()
	if err != nil {
		return err
	}
	row.RSSStarted = started.rss
	if t.database != nil {
		of, err := t.database.usage()
		if err != nil {
			return err
		}
		row.RSSDatabase = of.rss
	}
	row.Disk, err = t.diskSize()
	return err
}

// startAgain kills t's processes and starts them on the same data, and returns the milliseconds of the start. If drop
// is true, the files are dropped from the page cache before.
func (b *bench) startAgain(ctx context.Context, t *target, binary, dir string, drop bool) (float64, error) {
	if err := t.kill(); err != nil {
		return 0, err
	}
	if err := flushDisk(b.dir); err != nil {
		return 0, err
	}
	if drop {
		dirs := []string{dir}
		if t.database != nil {
			dirs = append(dirs, t.database.root)
		}
		for _, d := range dirs {
			if err := dropPages(d); err != nil {
				return 0, err
			}
		}
	}
	began := time.Now()
	if err := t.launch(ctx, binary, dir, b.connections); err != nil {
		return 0, err
	}
	return float64(time.Since(began)) / float64(time.Millisecond), nil
}

// survived checks that all acknowledged writes exist: the revision, the number of keys, and some of them.
func survived(ctx context.Context, c *client, set objectSet, before int64) error {
	after, err := revision(ctx, c.kv(0))
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("the revision is %d and was %d", after, before)
	}
	if err := stored(ctx, c, set); err != nil {
		return err
	}
	for range 10 {
		key := set.keys[rand.IntN(len(set.keys))]
		resp, err := c.kv(0).Range(ctx, &pb.RangeRequest{Key: []byte(key)})
		if err != nil {
			return err
		}
		if len(resp.Kvs) != 1 || string(resp.Kvs[0].Key) != key || len(resp.Kvs[0].Value) != valueSize ||
			resp.Kvs[0].Version != 1 {
			return fmt.Errorf("%s is %v", key, resp.Kvs)
		}
	}
	return nil
}

// dropPages makes the kernel drop its cached pages of dir's files, except pages that another process has mapped.
func dropPages(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) || err == nil && !entry.Type().IsRegular() {
			return nil // a server removed it meanwhile, or it has no pages
		}
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
	})
}

// restartTable formats the rows.
func (r *report) restartTable() table {
	out := table{heading: []string{"server", "keys", "start s (extremes)", "without page cache s (extremes)",
		"RSS after start MB", "of it the database's", "RSS when stored MB", "disk MB", "stored in s"}}
	for _, row := range r.Restarts {
		cells := []string{row.Server + ": " + row.Title, fmt.Sprint(row.Keys)}
		if row.Error != "" {
			out.rows = append(out.rows, append(cells, "FAILED"))
			continue
		}
		out.rows = append(out.rows, append(cells, seconds(row.Warm), seconds(row.Dropped), megabytes(row.RSSStarted),
			megabytes(row.RSSDatabase),
			megabytes(row.RSSStored), megabytes(row.Disk), fmt.Sprintf("%.1f", row.StoreSeconds)))
	}
	return out
}

func seconds(millis []float64) string {
	if len(millis) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", median(millis)/1000, slices.Min(millis)/1000, slices.Max(millis)/1000)
}
