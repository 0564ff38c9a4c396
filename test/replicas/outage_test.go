package replicas

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/stele"
)

// outageTimeout is the request timeout of the replicas in TestOutage.
const outageTimeout = 2 * time.Second

// TestOutage kills the database of two replicas and restarts it. Meanwhile watchers stay connected, serializable reads
// succeed, and all other requests fail with Unavailable in time. Afterwards everything works without a restart. A
// replica that starts during the outage waits for the database, as does the creation of a watch.
func TestOutage(t *testing.T) {
	inParallel(t, func(t *testing.T, kind string) {
		ctx := bounded(t)
		db := database.Start(t, kind)
		opts := stele.Options{Endpoint: db.DSN(t), Args: []string{"--request-timeout", outageTimeout.String()}}
		list := start(t, 2, opts)
		var watchers []*recorder
		for _, r := range list {
			watchers = append(watchers, record(t, r.name, r.client, "w/", 2))
		}
		writing := write(t, "w/", list[0].client, list[1].client)
		watchers[1].reaches(t, 20, 20*time.Second)

		for node := range db.Nodes() {
			db.Kill(t, node+1)
		}
		lost := time.Now()
		late := stele.New(t, stele.Options{Endpoint: opts.Endpoint, Args: opts.Args})
		if err := late.Exec(); err != nil {
			t.Fatal(err)
		}
		var created []pb.Watch_WatchClient
		for _, r := range list {
			created = append(created, r.createWatch(ctx, t))
			r.withoutDatabase(ctx, t)
		}
		select {
		case <-late.Exited():
			t.Errorf("a replica that was started without the database ended:\n%s", late.Logs())
		default:
		}

		for node := range db.Nodes() {
			db.Restart(t, node+1)
		}
		back := time.Now()
		for _, r := range list {
			took := eventually(t, 20*time.Second, func() error {
				_, err := r.client.Put(ctx, "w/back/"+r.name, "v")
				return err
			})
			t.Logf("%s writes again %v after the database is back", r.name, took.Round(time.Millisecond))
		}
		if err := late.WaitReady(ctx); err != nil {
			t.Errorf("the replica that was started without the database: %v", err)
		} else {
			t.Logf("a replica that was started without the database serves %v after it is back",
				time.Since(back).Round(time.Millisecond))
		}
		eventually(t, 20*time.Second, func() error {
			for _, r := range list {
				if code := r.get(ctx, t, "/readyz"); code != http.StatusOK {
					return fmt.Errorf("/readyz of %s is %d", r.name, code)
				}
			}
			return nil
		})
		for i, stream := range created {
			if answer, err := stream.Recv(); err != nil || !answer.Created || answer.Canceled {
				t.Errorf("a watch created on %s without the database: %v, %v", list[i].name, answer, err)
			}
		}
		writing.stop()
		writing.check(ctx, t, list[1].client, "w/")
		for _, w := range watchers {
			w.reaches(t, writing.revision, 20*time.Second)
			if n := w.streams(); n != 1 {
				t.Errorf("the watcher on %s was connected %d times", w.name, n)
			}
		}
		t.Logf("%d writes acknowledged, %d not, over an outage of %v; the longest time without one was %v",
			len(writing.acknowledged), writing.failed,
			back.Sub(lost).Round(time.Millisecond), writing.silence.Round(time.Millisecond))
	})
}

// createWatch sends the creation of a watch and does not wait for the answer.
func (r *replica) createWatch(ctx context.Context, t *testing.T) pb.Watch_WatchClient {
	t.Helper()
	stream, err := pb.NewWatchClient(r.conn).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&pb.WatchRequest{
		RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("none")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// withoutDatabase checks the answers of a replica whose database is unreachable.
func (r *replica) withoutDatabase(ctx context.Context, t *testing.T) {
	t.Helper()
	kv := r.kv()
	serializable, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("w/0"), Serializable: true})
	if err != nil {
		t.Errorf("%s: serializable read: %v", r.name, err)
	} else if len(serializable.Kvs) != 1 || string(serializable.Kvs[0].Value) != "0" {
		t.Errorf("%s: serializable read: %v", r.name, serializable.Kvs)
	}
	for name, call := range map[string]func() error{
		"linearizable read": func() error {
			_, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("w/0")})
			return err
		},
		"read at a revision": func() error {
			_, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("w/0"), Revision: 2})
			return err
		},
		"put": func() error {
			_, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("w/never")})
			return err
		},
		"delete": func() error {
			_, err := kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte("w/none")})
			return err
		},
		"txn": func() error {
			_, err := kv.Txn(ctx, &pb.TxnRequest{})
			return err
		},
		"compaction": func() error {
			_, err := kv.Compact(ctx, &pb.CompactionRequest{Revision: 2})
			return err
		},
		"hash": func() error {
			_, err := pb.NewMaintenanceClient(r.conn).HashKV(ctx, &pb.HashKVRequest{})
			return err
		},
		"member list": func() error {
			_, err := pb.NewClusterClient(r.conn).MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
			return err
		},
	} {
		begin := time.Now()
		err := call()
		if code := status.Code(err); code != codes.Unavailable {
			t.Errorf("%s: %s: %v, want it unavailable", r.name, name, err)
		}
		// The machine accounts for the rest.
		if took := time.Since(begin); took > outageTimeout+2*time.Second {
			t.Errorf("%s: %s took %v with a request timeout of %v", r.name, name, took, outageTimeout)
		}
	}
	// The database has not answered for a while: requests about the replica do not wait for it.
	begin := time.Now()
	st, err := pb.NewMaintenanceClient(r.conn).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		t.Errorf("%s: status: %v", r.name, err)
	} else if st.DbSize <= 0 || len(st.Errors) != 1 || !strings.Contains(st.Errors[0], "does not answer") {
		t.Errorf("%s: status: size %d, errors %q, want the last size and the reason", r.name, st.DbSize, st.Errors)
	}
	if code := r.get(ctx, t, "/health"); code != http.StatusServiceUnavailable {
		t.Errorf("%s: /health is %d", r.name, code)
	}
	if took := time.Since(begin); took > outageTimeout/2 {
		t.Errorf("%s: status and /health took %v", r.name, took)
	}
	if code := r.get(ctx, t, "/livez"); code != http.StatusOK {
		t.Errorf("%s: /livez is %d", r.name, code)
	}
	if code := r.get(ctx, t, "/readyz"); code == http.StatusOK {
		t.Errorf("%s: /readyz is %d", r.name, code)
	}
}

// get returns the status code of a plain HTTP request.
func (r *replica) get(ctx context.Context, t *testing.T, path string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Target+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Errorf("%s: %s: %v", r.name, path, err)
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}
