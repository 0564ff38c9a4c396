package sqlite

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// openFaulty opens a log on a disk of its own.
func openFaulty(t testing.TB, synchronous string, checkpoints time.Duration) (*Log, *disk) {
	t.Helper()
	dir := t.TempDir()
	d := newDisk(t, dir)
	// The file is created with syncs in every test.
	l, err := open(context.Background(), d.config(dir, "", time.Hour), quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = open(context.Background(), d.config(dir, synchronous, checkpoints), quiet()); err != nil {
		t.Fatal(err)
	}
	return l, d
}

func (d *disk) config(dir, synchronous string, checkpoints time.Duration) config {
	return config{
		path: filepath.Join(dir, "state.db"), busyTimeout: defaultBusyTimeout, checkpointInterval: checkpoints,
		vfs: faultyVFS, synchronous: synchronous, syncDir: d.syncDir,
	}
}

// cut is one loss of power: the remaining files, and the bounds of their contents.
type cut struct {
	survival survival
	image    map[string][]byte
	// acknowledged and begun count appends. deleted and deleting are the positions that calls of Delete which returned,
	// and which began, have removed.
	acknowledged, begun uint64
	floor, nextFloor    log.Position
}

// powerLoad runs all kinds of writes and cuts the power at intervals, until enough cuts were checked. It returns the
// first fault.
func powerLoad(t *testing.T, synchronous string, cuts int) error {
	l, d := openFaulty(t, synchronous, 5*time.Millisecond)
	defer func() {
		d.mu.Lock()
		d.afterOp = nil
		d.mu.Unlock()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	clusterID := func() uint64 {
		end, err := l.End(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return end.ClusterID
	}()
	var acknowledged, begun atomic.Uint64
	var floor, nextFloor atomic.Int64
	images := make(chan cut, 4)
	d.mu.Lock()
	ops := 0
	d.afterOp = func(d *disk) {
		if ops++; rand.N(20) > 0 || len(images) == cap(images) {
			return
		}
		c := cut{
			survival: survival(rand.N(int(survivals))), acknowledged: acknowledged.Load(),
			floor: log.Position(floor.Load()),
		}
		c.image = d.image(c.survival)
		c.begun, c.nextFloor = begun.Load(), log.Position(nextFloor.Load())
		images <- c
	}
	d.mu.Unlock()

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	// The checks pace the writes, because otherwise the log would outgrow the checks.
	appends, deletes := make(chan struct{}, 60), make(chan struct{}, 3)
	pace := func() {
		for range 20 {
			select {
			case appends <- struct{}{}:
			default:
			}
		}
		select {
		case deletes <- struct{}{}:
		default:
		}
	}
	pace()
	wg.Go(func() { defer cancel(); powerAppends(ctx, t, l, appends, &acknowledged, &begun) })
	wg.Go(func() {
		defer cancel()
		for received(ctx, deletes) { // rows up to the floor go, but for every tenth; now and then the file is rewritten
			next := max(0, log.Position(acknowledged.Load())-20) * powerRows
			nextFloor.Store(int64(next))
			var positions []log.Position
			for p := log.Position(floor.Load()) + 1; p <= next; p++ {
				if p%10 != 0 {
					positions = append(positions, p)
				}
			}
			if err := l.Delete(context.Background(), log.Head{}, positions, next); err != nil {
				t.Errorf("Delete: %v", err)
				return
			}
			floor.Store(int64(next))
			if rand.N(20) == 0 {
				if err := l.Defragment(context.Background()); err != nil {
					t.Errorf("Defragment: %v", err)
					return
				}
			}
		}
	})
	seen := [survivals]int{}
	for range cuts {
		pace()
		var c cut
		select {
		case <-ctx.Done():
			return errors.New("the load has ended")
		case c = <-images:
		}
		seen[c.survival]++
		if err := c.check(t, clusterID); err != nil {
			return fmt.Errorf("survival %d: %w", c.survival, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t.Logf("%d cuts during %d operations and %d appends; by survival: %v", cuts, ops, acknowledged.Load(), seen)
	return nil
}

// powerRows is the number of rows of each append of the load: the n-th begins at n*powerRows+1.
const powerRows = 3

// received waits for a turn.
func received(ctx context.Context, turns <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-turns:
		return true
	}
}

func powerAppends(
	ctx context.Context, t *testing.T, l *Log, turns <-chan struct{}, acknowledged, begun *atomic.Uint64,
) {
	var head log.Head
	for n := uint64(0); received(ctx, turns); n++ {
		begun.Store(n + 1)
		id := log.AppendID(n + 1)
		if err := l.Append(context.Background(), head, id, powerEntries(n)); err != nil {
			t.Errorf("Append %d: %v", n, err)
			return
		}
		acknowledged.Store(n + 1)
		head = log.Head{Position: head.Position + powerRows, ID: id}
	}
}

// powerEntries returns the entries of append n, which differ for each n.
func powerEntries(n uint64) []log.Entry {
	entries := make([]log.Entry, powerRows)
	for i := range entries {
		key := binary.BigEndian.AppendUint64(nil, n)
		entries[i] = log.Entry{
			Kind: log.KindPut, Revision: log.Revision(n), Sub: int64(i), Key: key,
			Value: bytes.Repeat(key, 1+int(n%200)),
		}
	}
	return entries
}

// check opens the remaining files with the normal driver and checks all of them.
func (c cut) check(t *testing.T, clusterID uint64) error {
	dir, err := os.MkdirTemp("", "stele-cut")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	writeImage(t, dir, c.image)
	ctx := context.Background()
	// The normal driver without syncs, because this machine stays up.
	l, err := open(ctx, config{
		path: filepath.Join(dir, "state.db"), busyTimeout: defaultBusyTimeout, checkpointInterval: time.Hour,
		synchronous: "OFF", syncDir: func(string) error { return nil },
	}, quiet())
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	var entries []log.Entry
	var end log.End
	for after := log.Position(0); ; {
		batch, e, err := l.Read(ctx, after, 5000)
		if err != nil {
			return err
		}
		if end = e; len(batch) == 0 {
			break
		}
		entries = append(entries, batch...)
		for _, e := range batch {
			if e.Position <= after { // in a file that is broken they may go round in circles
				return fmt.Errorf("position %d comes after %d", e.Position, after)
			}
			after = e.Position
		}
	}
	if clusterID != 0 && end.ClusterID != clusterID {
		return fmt.Errorf("cluster ID is %x, was %x", end.ClusterID, clusterID)
	}
	if uint64(end.Position) < c.acknowledged*powerRows {
		return fmt.Errorf("%d appends were acknowledged, and the log ends at %d", c.acknowledged, end.Position)
	}
	if uint64(end.Position) > c.begun*powerRows || end.Position%powerRows != 0 ||
		uint64(end.ID) != uint64(end.Position/powerRows) {
		return fmt.Errorf("%d appends were begun, and the log ends at %v", c.begun, end.Head)
	}
	if end.Floor < c.floor || end.Floor > c.nextFloor {
		return fmt.Errorf("the floor is %d, want %d to %d", end.Floor, c.floor, c.nextFloor)
	}
	next := log.Position(1)
	for _, e := range entries {
		for ; next < e.Position; next++ {
			if next > end.Floor || next%10 == 0 {
				return fmt.Errorf("position %d is gone, and the floor is %d", next, end.Floor)
			}
		}
		n, i := uint64(e.Position-1)/powerRows, int(e.Position-1)%powerRows
		want := powerEntries(n)[i]
		if uint64(e.ID) != n+1 || e.Sub != int64(i) || !bytes.Equal(e.Key, want.Key) ||
			!bytes.Equal(e.Value, want.Value) {
			return fmt.Errorf("position %d is %+v", e.Position, e)
		}
		if e.Position <= c.floor && e.Position%10 != 0 && e.Position != end.Position {
			return fmt.Errorf("position %d was deleted, floor %d", e.Position, c.floor)
		}
		next = e.Position + 1
	}
	if result, err := l.writer.c.strings(`PRAGMA integrity_check`); err != nil || len(result) != 1 ||
		result[0] != "ok" {
		return fmt.Errorf("integrity_check: %v, %w", result, err)
	}
	// The precondition is intact: an append after another head conflicts, and one after the head succeeds.
	err = l.Append(ctx, log.Head{Position: end.Position, ID: end.ID + 1}, 99, powerEntries(1))
	if !errors.Is(err, log.ErrConflict) {
		return fmt.Errorf("append after another head: %w", err)
	}
	return l.Append(ctx, end.Head, 99, powerEntries(1))
}

func TestPowerLoss(t *testing.T) {
	cuts := 200
	if raceDetector {
		cuts = 25
	}
	if v := os.Getenv("STELE_TEST_POWER_CUTS"); v != "" {
		var err error
		if cuts, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := powerLoad(t, "", cuts); err != nil {
		t.Error(err)
	}
}

// TestPowerLossIsSeen checks that the test of power loss detects a database that does not sync each commit.
func TestPowerLossIsSeen(t *testing.T) {
	for _, synchronous := range []string{"OFF", "NORMAL"} {
		err := powerLoad(t, synchronous, 200)
		if err == nil {
			t.Errorf("synchronous=%s passes the test of power loss", synchronous)
		}
		t.Logf("synchronous=%s: %v", synchronous, err)
	}
}

// TestPowerLossDuringCreation checks that the next start completes a file whose creation a loss of power interrupted.
func TestPowerLossDuringCreation(t *testing.T) {
	dir := t.TempDir()
	d := newDisk(t, dir)
	var cuts []cut
	d.afterOp = func(d *disk) {
		for s := range survivals {
			cuts = append(cuts, cut{survival: s, image: d.image(s)})
		}
	}
	l, err := open(context.Background(), d.config(dir, "", time.Hour), quiet())
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.afterOp = nil
	d.mu.Unlock()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for i, c := range cuts {
		if raceDetector && i%4 > 0 {
			continue // slow, and there is hardly anything concurrent in it
		}
		if err := c.check(t, 0); err != nil {
			t.Errorf("cut %d, survival %d: %v", i, c.survival, err)
		}
	}
	t.Logf("%d cuts", len(cuts))
}
