package drivertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/proxy"
	"github.com/stele-db/stele/logstructured/log"
)

const (
	proxyReset = proxy.Reset
	// promptly is how long after the end of its context a call may return.
	promptly = 2 * time.Second
)

// await waits for a condition.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// networked is a database behind a proxy, with a log that has appended and read through it. The log's connections are
// open and its statements prepared, so that the next append sends exactly one statement.
type networked struct {
	*proxy.Proxy
	through, direct log.Log
	head            log.Head
}

func (s suite) networked(t *testing.T) *networked {
	t.Helper()
	through, direct, p := s.Through(t)
	n := &networked{Proxy: p, through: opened(t, through), direct: opened(t, direct)}
	n.head = fill(t, n.through, log.Head{}, 10, 5)
	mustEnd(t, n.through)
	readAll(t, n.through, 0)
	return n
}

// append appends 5 entries in the background. It returns the append's ID and a channel for its error.
func (n *networked) append(ctx context.Context) (log.AppendID, <-chan error) {
	id, result := newID(), make(chan error, 1)
	head := n.head
	go func() { result <- n.through.Append(ctx, head, id, puts(9, 5)) }()
	return id, result
}

// again retries the append with this ID, as a store does that knows nothing else.
func (n *networked) retry(t *testing.T, id log.AppendID) error {
	t.Helper()
	var err error
	await(t, "the log answers again", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = n.through.Append(ctx, n.head, id, puts(9, 5))
		return err == nil || errors.Is(err, log.ErrConflict)
	})
	return err
}

// expect checks through both logs that the log contains the first 10 entries and 5 entries of each of the given
// appends.
func (n *networked) expect(t *testing.T, ids ...log.AppendID) {
	t.Helper()
	for _, l := range []log.Log{n.direct, n.through} {
		entries := readAll(t, l, 0)
		if len(entries) != 10+5*len(ids) {
			t.Fatalf("the log has %d entries, want %d", len(entries), 10+5*len(ids))
		}
		for i, e := range entries[10:] {
			if e.ID != ids[i/5] || e.Sub != int64(i%5) || e.Position != log.Position(11+i) {
				t.Fatalf("entry %d is %+v, want append %x", i+11, e, uint64(ids[i/5]))
			}
		}
	}
}

func mustBeUnknown(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, log.ErrUnknown) || errors.Is(err, log.ErrConflict) {
		t.Fatalf("Append: %v, want ErrUnknown", err)
	}
}

// received waits for the append's result.
func received(t *testing.T, result <-chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("Append does not return")
		return nil
	}
}

// requestDropped drops a statement and then cuts its connection. Only the database knows that the statement never
// arrived.
func (s suite) requestDropped(t *testing.T) {
	for _, how := range []proxy.Ending{proxy.Close, proxy.Reset} {
		n := s.networked(t)
		n.Set(proxy.ToServer, proxy.Hold)
		id, result := n.append(testContext(t))
		await(t, "the statement is on its way", func() bool { return n.Current().Held(proxy.ToServer) > 0 })
		n.Set(proxy.ToServer, proxy.Drop)
		n.Cut(how)
		n.Set(proxy.ToServer, proxy.Forward)
		mustBeUnknown(t, received(t, result))
		n.expect(t)
		if err := n.retry(t, id); err != nil {
			t.Fatalf("retry, when no entry follows %v: %v", n.head, err)
		}
		n.expect(t, id)
	}
}

// answerSwallowed drops the answer to an append that has taken effect.
func (s suite) answerSwallowed(t *testing.T) {
	for _, how := range []string{"the connection is reset", "the connection is closed", "the context ends"} {
		n := s.networked(t)
		n.Set(proxy.ToClient, proxy.Drop)
		ctx, cancel := context.WithCancel(testContext(t))
		defer cancel()
		id, result := n.append(ctx)
		want := log.Head{Position: n.head.Position + 5, ID: id}
		await(t, "the statement takes effect", func() bool { return mustEnd(t, n.direct).Head == want })
		start := time.Now()
		switch how {
		case "the connection is reset":
			n.Cut(proxy.Reset)
		case "the connection is closed":
			n.Cut(proxy.Close)
		default:
			cancel()
		}
		err := received(t, result)
		if took := time.Since(start); took > promptly {
			t.Errorf("%s, and Append returns after %v", how, took)
		}
		n.Cut(proxy.Reset)
		n.Set(proxy.ToClient, proxy.Forward)
		if !errors.Is(err, log.ErrUnknown) {
			t.Fatalf("%s: %v, want ErrUnknown", how, err)
		}
		if err := n.retry(t, id); !errors.Is(err, log.ErrConflict) {
			t.Fatalf("retry of an append that took effect: %v, want a conflict", err)
		}
		n.expect(t, id)
		if err := n.through.Confirm(testContext(t), want); err != nil {
			t.Errorf("Confirm: %v", err)
		}
	}
}

// deliveredLate delivers a statement to the database long after its caller gave up. Meanwhile the caller or another one
// may have appended after the same head.
func (s suite) deliveredLate(t *testing.T) {
	type step func(t *testing.T, n *networked, late func(), id log.AppendID) []log.AppendID
	for name, then := range map[string]step{
		"nothing": func(t *testing.T, n *networked, late func(), id log.AppendID) []log.AppendID {
			late()
			await(t, "the append is there", func() bool { return mustEnd(t, n.direct).ID == id })
			return []log.AppendID{id}
		},
		"a retry": func(t *testing.T, n *networked, late func(), id log.AppendID) []log.AppendID {
			if err := n.retry(t, id); err != nil {
				t.Fatalf("retry, when no entry follows %v: %v", n.head, err)
			}
			late()
			return []log.AppendID{id}
		},
		"a retry and another append": func(t *testing.T, n *networked, late func(), id log.AppendID) []log.AppendID {
			if err := n.retry(t, id); err != nil {
				t.Fatalf("retry, when no entry follows %v: %v", n.head, err)
			}
			next := mustAppend(t, n.through, log.Head{Position: n.head.Position + 5, ID: id}, puts(10, 5))
			late()
			return []log.AppendID{id, next.ID}
		},
		"another append": func(t *testing.T, n *networked, late func(), _ log.AppendID) []log.AppendID {
			other := mustAppend(t, n.direct, n.head, puts(10, 5))
			late()
			return []log.AppendID{other.ID}
		},
		"a retry at the same time": func(t *testing.T, n *networked, late func(), id log.AppendID) []log.AppendID {
			late()
			if err := n.retry(t, id); err != nil && !errors.Is(err, log.ErrConflict) {
				t.Errorf("retry: %v", err)
			}
			return []log.AppendID{id}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := s.networked(t)
			old := n.Current()
			old.Set(proxy.ToServer, proxy.Hold)
			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			id, result := n.append(ctx)
			sent := 0
			await(t, "the statement is on its way", func() bool {
				sent = old.Held(proxy.ToServer)
				return sent > 0
			})
			start := time.Now()
			cancel()
			mustBeUnknown(t, received(t, result))
			if took := time.Since(start); took > promptly {
				t.Errorf("Append returns %v after its context ended", took)
			}
			old.CutClients(proxy.Reset)
			n.expect(t)
			// A pooler drops a statement if it sees the end of the stream behind it, so deliver the statement first.
			ids := then(t, n, func() { old.Deliver(proxy.ToServer, sent) }, id)
			old.Set(proxy.ToServer, proxy.Forward)
			// The server has now read the statement and the end of the stream, and closed its side.
			await(t, "the server has done it", func() bool { return old.Ended() })
			n.expect(t, ids...)
			mustAppend(t, n.through, mustEnd(t, n.through).Head, puts(11, 1))
		})
	}
}

// nothingSentIsDefinite cuts the connections while they are idle. The next append must fail definitely.
func (s suite) nothingSentIsDefinite(t *testing.T) {
	for _, how := range []proxy.Ending{proxy.Close, proxy.Reset} {
		n := s.networked(t)
		n.Refuse(true)
		n.Cut(how)
		await(t, "the connections are gone", func() bool { return len(n.Current()) == 0 })
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, result := n.append(ctx)
			err := received(t, result)
			cancel()
			if err == nil || errors.Is(err, log.ErrUnknown) || errors.Is(err, log.ErrConflict) {
				t.Errorf("Append without a connection: %v, want a definite failure", err)
			}
		}
		n.Refuse(false)
		id := newID()
		if err := n.retry(t, id); err != nil {
			t.Errorf("Append: %v", err)
		}
		n.expect(t, id)
	}
}

// recoversByItself makes the database unreachable for a moment. The same log must work again soon afterwards.
func (s suite) recoversByItself(t *testing.T) {
	n := s.networked(t)
	for _, how := range []proxy.Ending{proxy.Close, proxy.Reset} {
		n.Refuse(true)
		n.Cut(how)
		for name, call := range n.calls() {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			if err := call(ctx); err == nil {
				t.Errorf("%s without a database returned nil", name)
			}
			cancel()
		}
		n.Refuse(false)
		start := time.Now()
		for name, call := range n.calls() {
			var err error
			await(t, name+" works again", func() bool {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				err = call(ctx)
				return err == nil || name == "Append" && errors.Is(err, log.ErrConflict)
			})
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("all calls work again after %v", took)
		}
		n.head = mustEnd(t, n.through).Head
	}
}

// calls returns all calls that use the database. The append is the same every time.
func (n *networked) calls() map[string]func(ctx context.Context) error {
	id, l := newID(), n.through
	head := n.head
	calls := map[string]func(ctx context.Context) error{
		"End":     func(ctx context.Context) error { _, err := l.End(ctx); return err },
		"Append":  func(ctx context.Context) error { return l.Append(ctx, head, id, puts(9, 5)) },
		"Confirm": func(ctx context.Context) error { return l.Confirm(ctx, head) },
		"Read":    func(ctx context.Context) error { _, _, err := l.Read(ctx, 0, 100); return err },
		"Scan": func(ctx context.Context) error {
			_, err := l.Scan(ctx, 0, func([]log.Entry) error { return nil })
			return err
		},
		"Values":     func(ctx context.Context) error { _, err := l.Values(ctx, upTo(1, 10)); return err },
		"Delete":     func(ctx context.Context) error { return l.Delete(ctx, head, nil, 0) },
		"Size":       func(ctx context.Context) error { _, err := l.Size(ctx); return err },
		"Defragment": func(ctx context.Context) error { return l.Defragment(ctx) },
	}
	if r, ok := l.(log.Registry); ok {
		calls["Register"] = func(ctx context.Context) error {
			_, err := r.Register(ctx, log.Replica{ID: 1})
			return err
		}
		calls["Unregister"] = func(ctx context.Context) error { return r.Unregister(ctx, 2, 0) }
	}
	return calls
}

// callsEndInSilence uses a database that accepts connections and answers nothing.
func (s suite) callsEndInSilence(t *testing.T) {
	n := s.networked(t)
	n.Set(proxy.ToServer, proxy.Drop)
	n.Set(proxy.ToClient, proxy.Drop)
	for round := range 2 { // first on the existing connections, then on new ones
		for name, call := range n.calls() {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			start := time.Now()
			err := call(ctx)
			cancel()
			if took := time.Since(start); took > promptly {
				t.Errorf("round %d: %s with 100 ms returned after %v", round+1, name, took)
			}
			if err == nil || errors.Is(err, log.ErrConflict) || name != "Append" && errors.Is(err, log.ErrUnknown) {
				t.Errorf("round %d: %s of a silent database: %v", round+1, name, err)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("round %d: %s: %v, want the context's error", round+1, name, err)
			}
		}
	}
	n.Cut(proxy.Reset)
	n.Set(proxy.ToServer, proxy.Forward)
	n.Set(proxy.ToClient, proxy.Forward)
	id := newID()
	if err := n.retry(t, id); err != nil {
		t.Errorf("Append: %v", err)
	}
	n.expect(t, id)
}

// closeInSilence closes a log whose calls are blocked.
func (s suite) closeInSilence(t *testing.T) {
	through, _, p := s.Through(t)
	l := through(t)
	head := fill(t, l, log.Head{}, 10, 5)
	p.Set(proxy.ToServer, proxy.Drop)
	n := &networked{Proxy: p, through: l, head: head}
	results := make(chan string, 20)
	calls := n.calls()
	for name, call := range calls {
		go func() {
			if err := call(testContext(t)); err == nil {
				t.Errorf("%s returned nil", name)
			}
			results <- name
		}()
	}
	await(t, "calls are under way", func() bool { return len(p.Current()) > 0 })
	start := time.Now()
	_ = l.Close() // it may report that connections could not be closed cleanly
	for range calls {
		select {
		case <-results:
		case <-time.After(20 * time.Second):
			t.Fatal("a call goes on after Close")
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close and the calls under way took %v", took)
	}
}
