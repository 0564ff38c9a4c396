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

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-db/stele/logstructured"
)

// openFaulty opens a log on a disk of its own.
func openFaulty(t testing.TB, synchronous string, checkpoints time.Duration) (*Log, *disk) {
	t.Helper()
	dir := t.TempDir()
	d := newDisk(t, dir)
	// Whatever is tested, the file is created safely.
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

// An append must sync the WAL at least once between its call and its return, or it is not durable; and not
// more than twice (the second when the WAL starts over), or it is slow.
func TestSyncsPerAppend(t *testing.T) {
	l, d := openFaulty(t, "", time.Hour)
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	count := func() (wal, other int) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for name, n := range d.syncs {
			if name == "state.db-wal" {
				wal += n
			} else {
				other += n
			}
		}
		return wal, other
	}
	var head logstructured.Head
	twice := 0
	for n, rows := range []int{1, 1, 1, 64, 5, 300, 1000, 1, 2, 64, 64} {
		if n == 7 {
			if err := l.checkpoint(); err != nil { // the WAL starts over with the next append
				t.Fatal(err)
			}
		}
		walBefore, otherBefore := count()
		head = fill(t, l, rows, rows)
		wal, other := count()
		wal -= walBefore
		if wal < 1 || wal > 2 || other != otherBefore {
			t.Errorf("append %d of %d rows: %d syncs of the WAL and %d others, want 1 (or 2) and 0", n, rows, wal, other-otherBefore)
		}
		if wal == 2 {
			twice++
		}
	}
	if twice > 2 {
		t.Errorf("%d appends synced twice, want those at the beginning of the WAL only", twice)
	}
	if int(head.Position) != 1+1+1+64+5+300+1000+1+2+64+64 {
		t.Errorf("head is %v", head)
	}
}

// cut is one loss of power: what is left, and what may and must be in it.
type cut struct {
	survival survival
	image    map[string][]byte
	// acknowledged and begun count appends, deleted and deleting are positions: what Delete was told to remove
	// in calls that returned and in calls that began.
	acknowledged, begun uint64
	floor, nextFloor    logstructured.Position
}

// powerLoad writes with everything that writes, and cuts the power now and then, until enough cuts were checked.
// It returns the first thing that was wrong.
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
			floor: logstructured.Position(floor.Load()),
		}
		c.image = d.image(c.survival)
		c.begun, c.nextFloor = begun.Load(), logstructured.Position(nextFloor.Load())
		images <- c
	}
	d.mu.Unlock()

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	// What is checked paces what is written, or the log would outgrow the checks.
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
			next := max(0, logstructured.Position(acknowledged.Load())-20) * powerRows
			nextFloor.Store(int64(next))
			var positions []logstructured.Position
			for p := logstructured.Position(floor.Load()) + 1; p <= next; p++ {
				if p%10 != 0 {
					positions = append(positions, p)
				}
			}
			if err := l.Delete(context.Background(), positions, next); err != nil {
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

func powerAppends(ctx context.Context, t *testing.T, l *Log, turns <-chan struct{}, acknowledged, begun *atomic.Uint64) {
	var head logstructured.Head
	for n := uint64(0); received(ctx, turns); n++ {
		begun.Store(n + 1)
		id := logstructured.AppendID(n + 1)
		if err := l.Append(context.Background(), head, id, powerEntries(n)); err != nil {
			t.Errorf("Append %d: %v", n, err)
			return
		}
		acknowledged.Store(n + 1)
		head = logstructured.Head{Position: head.Position + powerRows, ID: id}
	}
}

// powerEntries are told by the number of the append.
func powerEntries(n uint64) []logstructured.Entry {
	entries := make([]logstructured.Entry, powerRows)
	for i := range entries {
		key := binary.BigEndian.AppendUint64(nil, n)
		entries[i] = logstructured.Entry{
			Kind: logstructured.KindPut, Revision: logstructured.Revision(n), Sub: int64(i), Key: key,
			Value: bytes.Repeat(key, 1+int(n%200)),
		}
	}
	return entries
}

// check opens what is left with the normal driver and looks at all of it.
func (c cut) check(t *testing.T, clusterID uint64) error {
	dir, err := os.MkdirTemp("", "stele-cut")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	writeImage(t, dir, c.image)
	ctx := context.Background()
	// The normal driver, but for the syncs: this machine stays up.
	l, err := open(ctx, config{
		path: filepath.Join(dir, "state.db"), busyTimeout: defaultBusyTimeout, checkpointInterval: time.Hour,
		synchronous: "OFF", syncDir: func(string) error { return nil },
	}, quiet())
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	var entries []logstructured.Entry
	var end logstructured.End
	for after := logstructured.Position(0); ; {
		batch, e, err := l.Read(ctx, after, 5000)
		if err != nil {
			return err
		}
		if end = e; len(batch) == 0 {
			break
		}
		entries = append(entries, batch...)
		after = batch[len(batch)-1].Position
	}
	if clusterID != 0 && end.ClusterID != clusterID {
		return fmt.Errorf("cluster ID is %x, was %x", end.ClusterID, clusterID)
	}
	if uint64(end.Position) < c.acknowledged*powerRows {
		return fmt.Errorf("%d appends were acknowledged, and the log ends at %d", c.acknowledged, end.Position)
	}
	if uint64(end.Position) > c.begun*powerRows || end.Position%powerRows != 0 || uint64(end.ID) != uint64(end.Position/powerRows) {
		return fmt.Errorf("%d appends were begun, and the log ends at %v", c.begun, end.Head)
	}
	if end.Floor < c.floor || end.Floor > c.nextFloor {
		return fmt.Errorf("the floor is %d, want %d to %d", end.Floor, c.floor, c.nextFloor)
	}
	next := logstructured.Position(1)
	for _, e := range entries {
		for ; next < e.Position; next++ {
			if next > end.Floor || next%10 == 0 {
				return fmt.Errorf("position %d is gone, and the floor is %d", next, end.Floor)
			}
		}
		n, i := uint64(e.Position-1)/powerRows, int(e.Position-1)%powerRows
		want := powerEntries(n)[i]
		if uint64(e.ID) != n+1 || e.Sub != int64(i) || !bytes.Equal(e.Key, want.Key) || !bytes.Equal(e.Value, want.Value) {
			return fmt.Errorf("position %d is %+v", e.Position, e)
		}
		if e.Position <= c.floor && e.Position%10 != 0 && e.Position != end.Position {
			return fmt.Errorf("position %d was deleted, floor %d", e.Position, c.floor)
		}
		next = e.Position + 1
	}
	if result, err := l.writer.c.strings(`PRAGMA integrity_check`); err != nil || len(result) != 1 || result[0] != "ok" {
		return fmt.Errorf("integrity_check: %v, %w", result, err)
	}
	// The guard is intact: it refuses the head before, takes the head, and the log goes on.
	if err := l.Append(ctx, logstructured.Head{Position: end.Position, ID: end.ID + 1}, 99, powerEntries(1)); !errors.Is(err, logstructured.ErrConflict) {
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

// The test of power loss must see a database that does not sync each commit.
func TestPowerLossIsSeen(t *testing.T) {
	for _, synchronous := range []string{"OFF", "NORMAL"} {
		err := powerLoad(t, synchronous, 200)
		if err == nil {
			t.Errorf("synchronous=%s passes the test of power loss", synchronous)
		}
		t.Logf("synchronous=%s: %v", synchronous, err)
	}
}

// What Append says after a COMMIT that failed must be true after the loss of power too: see the package's documentation.
func TestFailedCommit(t *testing.T) {
	for _, test := range []struct {
		name string
		// fail the op on the WAL with code, so many times
		op    string
		code  int32
		times int
		// want of Append: a sentinel, or nil for a plain failure
		want error
	}{
		{"sync once", "sync", sqlite3.SQLITE_IOERR_FSYNC, 1, nil},
		{"sync for good", "sync", sqlite3.SQLITE_IOERR_FSYNC, 1 << 30, logstructured.ErrUnknown},
		{"write once", "write", sqlite3.SQLITE_IOERR_WRITE, 1, nil},
		{"write for good", "write", sqlite3.SQLITE_IOERR_WRITE, 1 << 30, nil},
		{"full", "write", sqlite3.SQLITE_FULL, 1 << 30, logstructured.ErrNoSpace},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, d := openFaulty(t, "", time.Hour)
			defer func() { _ = l.Close() }()
			ctx := context.Background()
			head := fill(t, l, 10, 1)
			left := test.times
			setFail := func(f func(op, name string) int32) {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.fail = f
			}
			var atFailure map[string][]byte
			setFail(func(op, name string) int32 {
				if name == "state.db-wal" && op == test.op && left > 0 {
					if left--; atFailure == nil {
						atFailure = d.image(all)
					}
					return test.code
				}
				return 0
			})
			entries := benchEntries(100)
			err := l.Append(ctx, head, 77, entries)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || test.want == nil && errors.Is(err, logstructured.ErrUnknown) {
				t.Fatalf("Append: %v, want %v", err, test.want)
			}
			t.Log(err)
			if end, err := l.End(ctx); err != nil || end.Head != head {
				t.Fatalf("reads after the failure: end %v, %v", end.Head, err)
			}
			// The loss of power that keeps everything that was written: what a definite failure says is true. And
			// at the moment of a sync that fails the append is in the WAL: there is something to settle.
			d.mu.Lock()
			img := d.image(all)
			d.mu.Unlock()
			if end := endOfImage(t, img); end != head && !errors.Is(err, logstructured.ErrUnknown) {
				t.Errorf("the append that failed came back: %v", end)
			}
			if end := endOfImage(t, atFailure); (end.ID == 77) != (test.op == "sync") {
				t.Errorf("at the moment of the failure the WAL ends at %v", end)
			}
			// The connection is usable again at once when the disk is.
			setFail(nil)
			if err := l.Append(ctx, head, 78, entries); err != nil {
				t.Errorf("Append when the disk works again: %v", err)
			}
			if got, _, err := l.Read(ctx, 0, 1000); err != nil || len(got) != 110 {
				t.Errorf("Read: %d entries, %v", len(got), err)
			}
		})
	}
}

// endOfImage is the head that a machine finds which comes up with these files.
func endOfImage(t *testing.T, img map[string][]byte) logstructured.Head {
	t.Helper()
	dir := t.TempDir()
	writeImage(t, dir, img)
	l, err := Open(context.Background(), filepath.Join(dir, "state.db"), Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	end, err := l.End(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return end.Head
}

// Power that is lost while the file is created leaves a file that the next start completes.
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
