package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"
)

// Storing objects may take seedTimeout, plus seedEach for each object. A slower server takes no part. tail is how long
// a slot may exceed its planned duration.
const (
	seedTimeout = 30 * time.Second
	seedEach    = 5 * time.Millisecond
	tail        = 30 * time.Second
)

// bench is one comparison.
type bench struct {
	settings
	// comparison is the comparison to make.
	comparison
	// dir is the comparison's own directory; runDir contains the directories of all comparisons.
	dir, runDir string
	// progress receives messages about the progress.
	progress io.Writer
	targets  []*target
	objects  objectSet
	large    objectSet
	report   *report
}

// run builds and starts all servers, measures, and stops them. A failed slot is in the report; an error means that the
// report is useless.
func (b *bench) run(ctx context.Context) (err error) {
	selected, err := selectContenders(b.servers)
	if err != nil {
		return err
	}
	b.objects = newObjectSet("/registry/objects/", b.settings.objects)
	b.large = newObjectSet("/registry/many/", b.settings.large)
	if b.report, err = newReport(b.settings, b.comparison, b.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	for _, c := range selected {
		if err := b.prepare(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c.title, err)
		}
	}
	seeded, err := b.seedAll(ctx)
	if err != nil {
		return err
	}
	var before, after []workload
	for _, w := range selectWorkloads(b.settings, b.workloads) {
		if w.updated {
			after = append(after, w)
		} else {
			before = append(before, w)
		}
	}
	if err := b.work(ctx, before, seeded); err != nil {
		return err
	}
	for _, t := range seeded {
		if err := b.footprint(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", t.title, err)
		}
	}
	if len(after) > 0 {
		// Servers without transactions of many puts would take an hour, and have no rows.
		seeded = slices.DeleteFunc(seeded, func(t *target) bool { return !t.batches })
		for _, t := range seeded {
			if err := b.update(ctx, t); err != nil {
				return fmt.Errorf("%s: %w", t.title, err)
			}
		}
		if err := b.work(ctx, after, seeded); err != nil {
			return err
		}
	}
	b.report.finish()
	return nil
}

// work measures the workloads on the targets, in all rounds.
func (b *bench) work(ctx context.Context, of []workload, targets []*target) error {
	for _, w := range of {
		able := slices.DeleteFunc(slices.Clone(targets), func(t *target) bool {
			return t.only != nil && !t.only.MatchString(w.name) || w.crowd && !t.batches
		})
		for round := range b.rounds {
			for i := range able {
				// The first server changes from round to round.
				t := able[(i+round)%len(able)]
				result := b.slot(ctx, w, t)
				if err := ctx.Err(); err != nil {
					return err
				}
				b.report.add(w, t, result)
				_, _ = fmt.Fprintf(b.progress, "%-25s round %d  %-18s %s\n", w.name, round+1, t.name, result)
			}
		}
	}
	return nil
}

// prepare builds c, starts its database if it has one, counts its syncs, and starts it.
func (b *bench) prepare(ctx context.Context, c contender) error {
	_, _ = fmt.Fprintf(b.progress, "building %s\n", c.title)
	binary, version, err := c.build(ctx, b.settings, filepath.Join(b.runDir, "bin"))
	if err != nil {
		return err
	}
	t := &target{contender: c, version: version}
	b.targets = append(b.targets, t) // from here on, stop ends all parts of t
	row := b.report.server(c, version)
	dir := filepath.Join(b.dir, c.name)
	if c.database != "" {
		_, _ = fmt.Fprintf(b.progress, "starting %s for %s\n", databaseTitles[c.database], c.title)
		if t.database, err = startDatabase(ctx, b.settings, c.database, b.runDir,
			filepath.Join(dir, "database")); err != nil {
			return err
		}
		b.report.Conditions.Database = t.database.version(ctx)
	}
	if row.SyncsPerWrite, err = b.countSyncs(ctx, t, binary); err != nil {
		return fmt.Errorf("count syncs: %w", err)
	}
	began := time.Now()
	if err := t.launch(ctx, binary, dir, b.connections); err != nil {
		return err
	}
	row.StartMillis = float64(time.Since(began)) / float64(time.Millisecond)
	return nil
}

// seedAll stores the objects in every target and returns the targets that have them. A target that lacks acknowledged
// objects is left out, and the report names it: kine, for example, acknowledges a put that waited too long for SQLite's
// lock.
func (b *bench) seedAll(ctx context.Context) ([]*target, error) {
	var seeded []*target
	for _, t := range b.targets {
		err := b.seed(ctx, t)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			b.report.server(t.contender, t.version).Error = fmt.Sprintf("store the objects: %v", err)
			_, _ = fmt.Fprintf(b.progress, "%s takes no part: %v\n", t.title, err)
			continue
		}
		seeded = append(seeded, t)
	}
	if len(seeded) == 0 {
		return nil, errors.New("no server stored the objects")
	}
	return seeded, nil
}

func (b *bench) seed(ctx context.Context, t *target) error {
	objects := len(b.objects.keys) + len(b.large.keys)
	ctx, cancel := context.WithTimeout(ctx, seedTimeout+time.Duration(objects)*seedEach)
	defer cancel()
	idle, err := t.usage(b.dir)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(b.progress, "storing %d objects in %s\n", objects, t.title)
	for _, set := range []objectSet{b.objects, b.large} {
		if len(set.keys) > 0 {
			if err := store(ctx, t.client, set); err != nil {
				return err
			}
		}
	}
	seeded, err := t.usage(b.dir)
	if err != nil {
		return err
	}
	row := b.report.server(t.contender, t.version)
	row.RSSIdle, row.RSSObjects = idle.rss, seeded.rss
	return nil
}

// slot measures w on t once. It repeats a slot without any completed operation, twice: on a busy machine a server may
// get no CPU for the time of a short slot.
func (b *bench) slot(ctx context.Context, w workload, t *target) result {
	for try := 1; ; try++ {
		r, err := b.try(ctx, w, t)
		switch {
		case err == nil:
			return r
		case try == 3 || !errors.Is(err, errNothingDone):
			return result{Error: err.Error()}
		}
		_, _ = fmt.Fprintf(b.progress, "%-25s once more    %-18s %v\n", w.name, t.name, err)
	}
}

func (b *bench) try(ctx context.Context, w workload, t *target) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, b.warmup+b.duration+tail)
	defer cancel()
	t.slots++
	s := &slot{
		settings: b.settings, client: t.client, objects: b.objects, large: b.large,
		prefix: fmt.Sprintf("/registry/%s/%04d/", w.name, t.slots), gaps: t.gaps,
	}
	return b.measure(ctx, w, t, s)
}

func (b *bench) measure(ctx context.Context, w workload, t *target, s *slot) (result, error) {
	if err := flushDisk(b.dir); err != nil {
		return result{}, err
	}
	revision, err := revision(ctx, s.client.kv(0))
	if err != nil {
		return result{}, err
	}
	before, err := t.usage(b.dir)
	if err != nil {
		return result{}, err
	}
	ownBefore, err := ownCPU()
	if err != nil {
		return result{}, err
	}
	got, err := w.run(ctx, s)
	if err != nil {
		return result{}, err
	}
	ownAfter, err := ownCPU()
	if err != nil {
		return result{}, err
	}
	select { // the server's work after the last answer also counts
	case <-time.After(b.settle):
	case <-ctx.Done():
		return result{}, ctx.Err()
	}
	// Data that is not yet on the disk has not been counted.
	if err := flushDisk(b.dir); err != nil {
		return result{}, err
	}
	after, err := t.usage(b.dir)
	if err != nil {
		return result{}, err
	}
	if err := s.check(ctx, revision, got); err != nil {
		return result{}, fmt.Errorf("wrong answers: %w", err)
	}
	r, err := newResult(b.settings, got, after.since(before), ownAfter-ownBefore)
	r.LeastShare = leastShare(got, s.client)
	return r, err
}

// footprint records the sizes of t at the end.
func (b *bench) footprint(ctx context.Context, t *target) error {
	u, err := t.usage(b.dir)
	if err != nil {
		return err
	}
	row := b.report.server(t.contender, t.version)
	row.RSSEnd = u.rss
	if row.KeysEnd, err = t.client.count(ctx, "/registry/"); err != nil {
		return err
	}
	row.DiskEnd, err = t.diskSize()
	return err
}

func (b *bench) stop() error {
	var errs []error
	for _, t := range b.targets {
		errs = append(errs, t.stop())
	}
	b.targets = nil
	return errors.Join(errs...)
}
