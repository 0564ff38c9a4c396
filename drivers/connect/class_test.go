package connect

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

var errRefused = errors.New("too many connections")

// limited is a server that grants a limited number of connections.
type limited struct {
	mu    sync.Mutex
	free  int
	opens int // attempts to connect
}

func (s *limited) source(makeRoom func(error)) Source[*pooled] {
	return Source[*pooled]{
		Open: func(context.Context) (*pooled, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.opens++
			if s.free == 0 {
				return nil, errRefused
			}
			s.free--
			return &pooled{s}, nil
		},
		Refused:  func(err error) bool { return errors.Is(err, errRefused) },
		MakeRoom: makeRoom,
	}
}

type pooled struct{ s *limited }

func (p *pooled) close() {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.free++
}

// TestClassesShareFewConnections makes concurrent calls of both classes, with fewer connections than they want.
func TestClassesShareFewConnections(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for connections := 1; connections <= 6; connections++ {
		s := &limited{free: connections}
		follow := NewClass(2, s.source(nil), nil)
		others := NewClass(4, s.source(nil), follow)
		var calls sync.WaitGroup
		for i := range 40 {
			class := follow
			if i%4 != 0 {
				class = others
			}
			calls.Go(func() {
				c, release, err := class.Acquire(ctx)
				if err != nil {
					t.Errorf("%d connections: %v", connections, err)
					return
				}
				c.close()
				release()
			})
		}
		calls.Wait()
	}
}

// TestClassMakesRoom lets another class hold the only connection.
func TestClassMakesRoom(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := &limited{free: 1}
	var others *Class[*pooled]
	var idle *pooled
	follow := NewClass(2, s.source(func(error) {
		others.Deny()
		if idle != nil {
			idle.close()
			idle = nil
		}
	}), nil)
	others = NewClass(4, s.source(nil), follow)
	idle, release, err := others.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	release()
	first, release, err := follow.Acquire(ctx)
	if err != nil || !others.Denied() {
		t.Fatalf("the class that matters has no connection: %v", err)
	}
	// The other class requests no connection of its own, but waits for this one.
	opens := s.opens
	short, stop := context.WithTimeout(ctx, 30*time.Millisecond)
	defer stop()
	if _, _, err := others.Acquire(short); !errors.Is(err, context.DeadlineExceeded) || s.opens > opens+2 {
		t.Errorf("%v, after %d attempts", err, s.opens-opens)
	}
	first.close()
	release()
	if second, release, err := others.Acquire(ctx); err != nil {
		t.Error(err)
	} else {
		second.close()
		release()
	}
}

func TestClassReportsOtherErrors(t *testing.T) {
	broken := errors.New("no route")
	c := NewClass(1, Source[*pooled]{
		Open:    func(context.Context) (*pooled, error) { return nil, broken },
		Refused: func(error) bool { return false },
	}, nil)
	for range 3 {
		if _, _, err := c.Acquire(t.Context()); !errors.Is(err, broken) {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestDivide(t *testing.T) {
	for n, want := range map[int][2]int{1: {1, 0}, 2: {1, 1}, 3: {1, 2}, 4: {2, 2}, 8: {2, 6}, 16: {2, 14}} {
		if follow, others := Divide(n); follow != want[0] || others != want[1] {
			t.Errorf("%d connections are %d and %d, want %v", n, follow, others, want)
		}
	}
}
