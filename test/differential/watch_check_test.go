package differential

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/stele-db/stele/test/internal/target"
)

// history waits until the recorder has all events.
func (run *watchRun) history(t *testing.T) []*mvccpb.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), watchTimeout)
	defer cancel()
	current := run.generator.current
	err := run.recorder.wait(ctx, func() bool {
		list := run.recorder.events[0]
		return current == 1 || len(list) > 0 && list[len(list)-1].Kv.ModRevision >= current
	})
	if err != nil {
		t.Fatalf("seed %d: the recorder has not seen revision %d: %v", run.seed, current, err)
	}
	run.recorder.mu.Lock()
	defer run.recorder.mu.Unlock()
	return run.recorder.events[0]
}

// settle waits until every watcher has received its events, and compares them.
func (run *watchRun) settle(t *testing.T) {
	t.Helper()
	for _, pair := range run.streams {
		for _, w := range pair.watchers {
			run.compare(t, pair, w)
		}
		run.demandProgress(t, pair)
		run.checkProgress(t, pair)
	}
}

// demandProgress sends one progress request to the subject and requires an answer. etcd ignores such a request while a
// watcher is not synced, but Stele answers as soon as all are. A watcher that starts in the future is never synced, on
// either server.
func (run *watchRun) demandProgress(t *testing.T, pair *streamPair) {
	t.Helper()
	current := run.generator.current
	for _, w := range pair.watchers {
		if w.request.StartRevision > current {
			return
		}
	}
	if len(pair.watchers) == 0 || target.SubjectIsEtcd() {
		return
	}
	send(t, pair.subject, &pb.WatchRequest{
		RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}},
	})
	ctx, cancel := context.WithTimeout(t.Context(), watchTimeout)
	defer cancel()
	err := pair.subject.wait(ctx, func() bool {
		return slices.ContainsFunc(pair.subject.progress, func(p progress) bool {
			return p.id == -1 && p.revision >= current
		})
	})
	if err != nil {
		t.Fatalf("seed %d, %s: the subject does not answer a progress request at revision %d: %v", run.seed,
			pair.name, current, err)
	}
}

// synced waits until no watcher has history to read, even if that has no event for it. Servers read it for all watchers
// in the order of their creation, or for many together, so that a new watcher is served last.
func (run *watchRun) synced(t *testing.T) {
	t.Helper()
	if run.generator.current == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), watchTimeout)
	defer cancel()
	all := []byte{0}
	for _, reference := range []bool{true, false} {
		probe := openStream(t, run.kvRun, reference)
		create(t, probe, &pb.WatchCreateRequest{Key: all, RangeEnd: all, StartRevision: run.generator.current})
		if err := probe.wait(ctx, func() bool { return len(probe.events[0]) > 0 }); err != nil {
			t.Fatalf("seed %d: probe (reference: %v): %v", run.seed, reference, err)
		}
		if err := probe.client.CloseSend(); err != nil {
			t.Fatal(err)
		}
	}
}

// compare waits for the events of one watcher on both servers and compares them with the history.
func (run *watchRun) compare(t *testing.T, pair *streamPair, w *watcher) {
	t.Helper()
	expected := w.expected(run.history(t))
	ctx, cancel := context.WithTimeout(t.Context(), watchTimeout)
	defer cancel()
	for name, s := range map[string]*watchStream{"reference": pair.reference, "subject": pair.subject} {
		err := s.wait(ctx, func() bool {
			return len(s.events[w.id]) >= len(expected) && (!w.compactedAway || s.compacted[w.id] != nil)
		})
		s.mu.Lock()
		got, responses, canceled := s.events[w.id], s.responses[w.id], s.compacted[w.id]
		s.mu.Unlock()
		where := fmt.Sprintf("seed %d, %s, %s (revision %d, compacted %d), watcher %d %v",
			run.seed, pair.name, name, run.generator.current, run.generator.compacted, w.id, w.request)
		if err != nil || len(got) != len(expected) {
			t.Fatalf("%s: %d events, want %d (%v); %s", where, len(got), len(expected), err,
				firstDifference(expected, got))
		}
		for i := w.compared; i < len(got); i++ {
			if d := run.diffEvent(name, w, expected[i], got[i]); d != "" {
				t.Fatalf("%s: event %d differs (-want +got):\n%s", where, i, d)
			}
		}
		if w.compactedAway {
			want := &pb.WatchResponse{
				Header:          &pb.ResponseHeader{ClusterId: 1, MemberId: 1, RaftTerm: 1},
				WatchId:         w.id,
				Canceled:        true,
				CompactRevision: canceled.GetCompactRevision(),
			}
			if canceled.GetCompactRevision() != w.compactedAtCreation || !proto.Equal(want, canceled) {
				t.Fatalf("%s: canceled with %v, want %v and compact revision %d", where, canceled, want,
					w.compactedAtCreation)
			}
		}
		checkResponses(t, where, responses)
	}
	run.events += len(expected) - w.compared
	w.compared = len(expected)
}

// firstDifference describes the first difference of two lists of events.
func firstDifference(want, got []*mvccpb.Event) string {
	for i := range max(len(want), len(got)) {
		describe := func(list []*mvccpb.Event) string {
			if i >= len(list) {
				return "none"
			}
			return fmt.Sprintf("%v of %q at revision %d", list[i].Type, list[i].Kv.Key, list[i].Kv.ModRevision)
		}
		if w, g := describe(want), describe(got); w != g {
			return fmt.Sprintf("event %d is %s, want %s", i, g, w)
		}
	}
	return "their keys and revisions are the same"
}

// diffEvent returns "" if got is the event e as w must receive it. The previous value may be missing if its revision
// had been compacted.
func (run *watchRun) diffEvent(name string, w *watcher, e, got *mvccpb.Event) string {
	want := proto.CloneOf(e)
	if !w.request.PrevKv {
		want.PrevKv = nil
		if name == "reference" {
			// In etcd 3.7 watchers share events, and a previous value meant for one of them reaches the others.
			got = proto.CloneOf(got)
			got.PrevKv = nil
		}
	} else if got.PrevKv == nil && e.Kv.ModRevision-1 < w.compactedAtCreation {
		want.PrevKv = nil
	}
	if proto.Equal(want, got) {
		return ""
	}
	return cmp.Diff(want, got, protocmp.Transform())
}

// checkResponses verifies that no revision is split and that headers do not lag behind events.
func checkResponses(t *testing.T, where string, responses []eventResponse) {
	t.Helper()
	last := int64(0)
	for i, r := range responses {
		if r.first <= last {
			t.Fatalf("%s: response %d begins at revision %d, at which the previous one ended", where, i, r.first)
		}
		if r.revision < r.last {
			t.Fatalf("%s: the header of response %d says revision %d, its last event %d", where, i, r.revision, r.last)
		}
		last = r.last
	}
}

// checkProgress verifies that no progress response came before an event that it covers.
func (run *watchRun) checkProgress(t *testing.T, pair *streamPair) {
	t.Helper()
	history := run.history(t)
	for name, s := range map[string]*watchStream{"reference": pair.reference, "subject": pair.subject} {
		s.mu.Lock()
		list := s.progress
		s.progress = nil
		s.mu.Unlock()
		for _, p := range list {
			run.progresses++
			for _, w := range pair.watchers {
				if p.id != -1 && p.id != w.id || w.compactedAway {
					continue
				}
				where := fmt.Sprintf("seed %d, %s, %s, watcher %d %v", run.seed, pair.name, name, w.id, w.request)
				if p.id == w.id && !w.request.ProgressNotify {
					t.Fatalf("%s: a progress notification that the client did not request", where)
				}
				if p.controls <= w.control {
					// The server sent it before it created this watcher.
					continue
				}
				if got, want := p.received[w.id], upTo(w.expected(history), p.revision); got < want {
					run.earlyProgress(t, name,
						fmt.Sprintf("%s: progress at revision %d after %d events, of %d up to there", where,
							p.revision, got, want))
				}
				if p.revision < w.request.StartRevision {
					run.earlyProgress(t, name, fmt.Sprintf("%s: progress at revision %d", where, p.revision))
				}
			}
		}
	}
}

// earlyProgress fails the test if the server is the subject. etcd has two channels for its answers, so that a progress
// response that was sent before the creation of a watcher may arrive after the answer to the creation.
func (run *watchRun) earlyProgress(t *testing.T, name, message string) {
	t.Helper()
	if name == "subject" && !target.SubjectIsEtcd() {
		t.Fatal(message)
	}
	run.early++
}
