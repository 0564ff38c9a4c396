package server

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// ready reports whether a request may run.
func ready(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Each release runs a request of the next client, however many requests another client has.
func TestFairQueueTakesTurns(t *testing.T) {
	q := newFairQueue(1, 3, 4)
	enter := func(client string) chan struct{} {
		t.Helper()
		c, err := q.enter(client)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := enter("flood")
	if !ready(first) {
		t.Fatal("the first request has to wait")
	}
	waiting := map[string]chan struct{}{}
	for _, name := range []string{"flood 1", "flood 2", "flood 3"} {
		waiting[name] = enter("flood")
	}
	if _, err := q.enter("flood"); !errors.Is(err, rpctypes.ErrGRPCRequestTooManyRequests) {
		t.Errorf("beyond the bound of a client: %v", err)
	}
	waiting["a 1"], waiting["b 1"] = enter("a"), enter("b")
	if _, err := q.enter("a"); !errors.Is(err, rpctypes.ErrGRPCRequestTooManyRequests) {
		t.Errorf("a second request beyond the bound of all: %v", err)
	}
	q.leave("flood", waiting["flood 2"])
	delete(waiting, "flood 2")
	var order []string
	for len(waiting) > 0 {
		q.release()
		for name, c := range waiting {
			if ready(c) {
				order = append(order, name)
				delete(waiting, name)
			}
		}
	}
	if want := []string{"flood 1", "a 1", "b 1", "flood 3"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	q.release()
	if q.free != 1 || q.waiting != 0 || len(q.queues) != 0 || len(q.order) != 0 {
		t.Errorf("the queue does not end empty: %+v", q)
	}
}

// A request whose client disconnects leaves the queue, even if it becomes ready at the same time.
func TestFairQueueForgetsClientsThatLeave(t *testing.T) {
	q := newFairQueue(1, 1, 1)
	if err := q.acquire(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("gone"))
	if err := q.acquire(canceled, "b"); err == nil || err.Error() != "gone" {
		t.Errorf("a client that has gone: %v", err)
	}
	c, err := q.enter("b")
	if err != nil {
		t.Fatal(err)
	}
	q.release() // it is the turn of b, which
	q.leave("b", c)
	if q.free != 1 || q.waiting != 0 || len(q.order) != 0 {
		t.Errorf("the queue does not end empty: %+v", q)
	}
}

type address struct{ network, text string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.text }

func TestClientOf(t *testing.T) {
	for _, test := range []struct {
		from      net.Addr
		forwarded string
		want      string
	}{
		{address{"tcp", "10.1.2.3:4567"}, "", "10.1.2.3"},
		{address{"tcp", "[::ffff:10.1.2.3]:4567"}, "", "10.1.2.3"},
		{address{"tcp", "[2001:db8:1:2:3:4:5:6]:80"}, "", "2001:db8:1:2::/64"},
		{address{"tcp", "[fe80::1%eth0]:80"}, "", "fe80::/64"},
		{address{"tcp", "10.1.2.3:4567"}, "9.9.9.9", "10.1.2.3"}, // only the gateway is believed
		{address{"pipe", "pipe"}, "9.9.9.9, 10.1.2.3", "10.1.2.3"},
		{address{"pipe", "pipe"}, "", "pipe"},
		{address{"unix", "@"}, "", "unix"},
	} {
		ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: test.from})
		if test.forwarded != "" {
			ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("x-forwarded-for", test.forwarded))
		}
		if got := clientOf(ctx); got != test.want {
			t.Errorf("%v, forwarded for %q: %q, want %q", test.from, test.forwarded, got, test.want)
		}
	}
}
