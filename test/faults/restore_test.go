package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/crash"
	"github.com/stele-db/stele/test/internal/connect"
)

// margin is how far the revision must jump beyond all revisions that were served.
const margin = 1_000_000

// TestDatabaseRestored restores the database from an older backup under running replicas. Each replica had applied
// another head, and another process writes past all of them before any of them reads again. Writes acknowledged after
// the backup are lost; but every replica must notice, no revision may have two contents, every watcher must list again,
// and from then on all guarantees must hold again.
func TestDatabaseRestored(t *testing.T) {
	on(t, both(), func(t *testing.T, db *database.Server) {
		s := &restore{t: t, db: db, c: newCluster(t, db, [replicas]process{})}
		f := fault{faults: 1, min: time.Second, max: 2 * time.Second, disturb: s.disturb}
		rec := f.record(t, s.c)
		if rec == nil || rec.Recovery == nil || rec.Recovery.Revision == 0 {
			return
		}
		before, after := rec.Split()
		t.Logf("the backup has revision %d, %d were served, the new history begins at %d; "+
			"acknowledged writes lost by the restore: %d",
			s.backup.Header.Revision, s.served, rec.Recovery.Revision, rec.LostAfter(s.backup.Header.Revision))
		lowest, old := before.Terms(0, rec.Recovery.At)
		if lowest != old {
			t.Errorf("the raft term rose from %d to %d before the restore", lowest, old)
		}
		if lowest, highest := after.Terms(s.noticed, forever); lowest != highest || lowest <= old {
			t.Errorf("raft terms %d to %d after the restore, want one above %d", lowest, highest, old)
		}
		for i := range replicas {
			if n := rec.Broken(i); n > 0 {
				t.Errorf("replica %d broke its watches %d times", i, n)
			}
		}
		f.judge(t, before, " before")
		f.judge(t, after, " after")
		for i, server := range s.c.servers {
			if !strings.Contains(server.Logs(), "WENT BACK IN TIME") {
				t.Errorf("replica %d did not report the recovery", i)
			}
		}
	})
}

// restore is the state of one run.
type restore struct {
	t  *testing.T
	db *database.Server
	c  *cluster

	// backup holds all keys in the backup.
	backup *pb.RangeResponse
	// served is the highest revision that a replica showed before it noticed the restore.
	served int64
	// noticed is when all replicas had noticed it.
	noticed time.Duration
}

func (s *restore) disturb(ctx context.Context, r *crash.Running) error {
	if err := r.Work(ctx, 2*time.Second, 0); err != nil {
		return err
	}
	err := r.Hold(func() (err error) {
		if s.backup, err = r.Settle(ctx, 0); err == nil {
			s.db.Backup(s.t, s.t.Name()[strings.LastIndex(s.t.Name(), "/")+1:])
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := r.Work(ctx, 2*time.Second, 0); err != nil {
		return err
	}
	var w *writer
	if err := r.Hold(func() (err error) { w, err = s.restore(ctx, r); return err }); err != nil {
		return err
	}
	defer w.stop()
	r.CountFault()
	// Clients send requests, and notice the restore when the replicas do. The replica with the oldest head is first.
	for _, i := range []int{1, 0, 2} {
		s.c.heal(i)
		if err := crash.Pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	for i := range replicas {
		if err := s.awaitNotice(ctx, r, i); err != nil {
			return err
		}
	}
	s.noticed = r.Now()
	if err := s.agree(ctx, r, w); err != nil {
		return err
	}
	if err := r.Cut(ctx, 0); err != nil {
		return err
	}
	for !r.Enough() {
		if err := r.Work(ctx, faultDuration(s.t, time.Second, 3*time.Second), 0); err != nil {
			return err
		}
	}
	return nil
}

// restore cuts the replicas off one after the other, each at another head, restores the backup, and lets another
// process write past them.
func (s *restore) restore(ctx context.Context, r *crash.Running) (*writer, error) {
	if _, err := r.Settle(ctx, 0); err != nil {
		return nil, err
	}
	// The heads that the replicas have applied.
	var heads [replicas]uint64
	for _, i := range []int{1, 0, 2} {
		if err := s.puts(ctx, r, i, 10); err != nil {
			return nil, err
		}
		status, err := connect.Client(s.t, s.c.servers[i].Target).Status(ctx, s.c.servers[i].Target)
		if err != nil {
			return nil, err
		}
		heads[i] = status.RaftIndex
		if i == 2 {
			last, err := r.Settle(ctx, i)
			if err != nil {
				return nil, err
			}
			s.served = last.Header.Revision
		}
		s.c.refuse(i, 0)
	}
	if heads[1] >= heads[0] || heads[0] >= heads[2] {
		return nil, fmt.Errorf("the replicas have applied the heads %v, want three", heads)
	}
	s.db.Restore(s.t, s.t.Name()[strings.LastIndex(s.t.Name(), "/")+1:])
	w, err := s.newWriter(ctx)
	if err != nil {
		return nil, err
	}
	for w.index <= heads[2] {
		if err := w.put(ctx); err != nil {
			return nil, err
		}
	}
	s.served = max(s.served, w.revision)
	r.Restored()
	return w, nil
}

func (s *restore) puts(ctx context.Context, r *crash.Running, server, n int) error {
	for i := range n {
		op := r.Do(ctx, server, &pb.PutRequest{
			Key: fmt.Appendf(nil, "a/lost/%d", i), Value: fmt.Appendf(nil, "lost %d by %d", i, server),
		})
		if op.Outcome != crash.Acked {
			return fmt.Errorf("a write before the restore: %v", op)
		}
	}
	return nil
}

// awaitNotice waits until a replica answers from the new history. Until then it must refuse linearizable requests.
func (s *restore) awaitNotice(ctx context.Context, r *crash.Running, i int) error {
	from := r.Now()
	if _, err := back(ctx, r, i, 30*time.Second); err != nil {
		return err
	}
	op := r.Do(ctx, i, crash.Everything(0))
	if op.Outcome != crash.Acked {
		return fmt.Errorf("read after the restore: %v", op)
	}
	if rev := op.Response.(*pb.RangeResponse).Header.Revision; rev < s.served+margin {
		return fmt.Errorf("replica %d is at revision %d after the restore, although %d was served", i, rev, s.served)
	}
	s.t.Logf("replica %d noticed after %v", i, (r.Now() - from).Round(time.Millisecond))
	return nil
}

// agree checks that all replicas, and the process that never saw the lost history, have the same new one.
func (s *restore) agree(ctx context.Context, r *crash.Running, w *writer) error {
	revision, err := w.canceled(ctx)
	if err != nil {
		return err
	}
	if revision < s.served+margin {
		return fmt.Errorf("the new history begins at %d, although %d was served", revision, s.served)
	}
	for i := range replicas {
		op := r.Do(ctx, i, crash.Everything(revision))
		if op.Outcome != crash.Acked {
			return fmt.Errorf("the beginning of the new history: %v", op)
		}
		if kvs := op.Response.(*pb.RangeResponse).Kvs; !equal(kvs, w.kvs) {
			return fmt.Errorf("replica %d begins the new history with %v\n  want %v", i, kvs, w.kvs)
		}
		for _, old := range []int64{1, s.backup.Header.Revision, w.revision, s.served, revision - 1} {
			op := r.Do(ctx, i, crash.Everything(old))
			if !errors.Is(rpctypes.Error(op.Err), rpctypes.ErrCompacted) {
				return fmt.Errorf("revision %d was not answered as compacted: %v", old, op)
			}
		}
	}
	r.Recovered(revision, w.kvs)
	return nil
}

func equal(a, b []*mvccpb.KeyValue) bool {
	return proto.Equal(&pb.RangeResponse{Kvs: a}, &pb.RangeResponse{Kvs: b})
}

// writer is a process that has not seen the lost history. Its writes are acknowledged, and must survive the recovery.
type writer struct {
	conn     *grpc.ClientConn
	kv       pb.KVClient
	watch    pb.Watch_WatchClient
	stop     func()
	index    uint64
	revision int64
	// kvs are all keys at revision.
	kvs []*mvccpb.KeyValue
	n   int
}

func (s *restore) newWriter(ctx context.Context) (*writer, error) {
	server := s.c.replica(s.t, "writer", s.c.db.In(s.c.db.Env(s.t, "DSN"), s.c.name), process{})
	if err := server.Launch(ctx); err != nil {
		return nil, err
	}
	w := &writer{conn: connect.GRPC(s.t, server.Target)}
	w.kv = pb.NewKVClient(w.conn)
	found, err := w.kv.Range(ctx, crash.Everything(0))
	if err != nil {
		return nil, err
	}
	if found.Header.Revision != s.backup.Header.Revision || !equal(found.Kvs, s.backup.Kvs) {
		return nil, fmt.Errorf("the restored database is at %d: %v\n  the backup was made at %d: %v",
			found.Header.Revision, found.Kvs, s.backup.Header.Revision, s.backup.Kvs)
	}
	watching, stop := context.WithCancel(ctx)
	w.stop = stop
	if w.watch, err = pb.NewWatchClient(w.conn).Watch(watching); err != nil {
		return nil, err
	}
	return w, w.watch.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{
			Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: s.backup.Header.Revision + 1,
		},
	}})
}

// put writes one key and reads all keys back.
func (w *writer) put(ctx context.Context) error {
	w.n++
	put, err := w.kv.Put(ctx, &pb.PutRequest{
		Key: fmt.Appendf(nil, "b/writer/%d", w.n%20), Value: fmt.Appendf(nil, "written %d", w.n),
	})
	if err != nil {
		return err
	}
	status, err := pb.NewMaintenanceClient(w.conn).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return err
	}
	all, err := w.kv.Range(ctx, crash.Everything(0))
	if err != nil {
		return err
	}
	w.index, w.revision, w.kvs = status.RaftIndex, put.Header.Revision, all.Kvs
	if all.Header.Revision != w.revision {
		return fmt.Errorf("another process writes: revision %d after %d", all.Header.Revision, w.revision)
	}
	return nil
}

// canceled waits until the writer's watch is canceled, and returns the compact revision. Until then the watch must have
// shown exactly the writer's events.
func (w *writer) canceled(ctx context.Context) (int64, error) {
	stop := context.AfterFunc(ctx, w.stop)
	defer stop()
	timer := time.AfterFunc(30*time.Second, w.stop)
	defer timer.Stop()
	for {
		resp, err := w.watch.Recv()
		if err != nil {
			return 0, fmt.Errorf("the writer's watch was not canceled: %w", err)
		}
		if resp.Canceled {
			return resp.CompactRevision, nil
		}
		for _, e := range resp.Events {
			if e.Kv.ModRevision > w.revision {
				return 0, fmt.Errorf("the writer's watch continued into the new history: %v", resp)
			}
		}
	}
}
