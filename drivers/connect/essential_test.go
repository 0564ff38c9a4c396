package connect

import (
	"context"
	"errors"
	"testing"
)

func TestEssentialMakesRoom(t *testing.T) {
	refusal, failure := errors.New("too many connections"), error(nil)
	room := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e := NewEssential(Source[int]{
		Open: func(context.Context) (int, error) {
			switch {
			case failure != nil:
				return 0, failure
			case room < 2:
				return 0, refusal
			}
			return room, nil
		},
		Refused: func(err error) bool { return errors.Is(err, refusal) },
		MakeRoom: func(error) {
			if room++; room < 0 {
				cancel()
			}
		},
	})
	if c, err := e.Open(ctx); c != 2 || err != nil || e.Refused() {
		t.Errorf("Open: %d, %v, refused %t", c, err, e.Refused())
	}
	room = -2
	if _, err := e.Open(ctx); !errors.Is(err, refusal) || !errors.Is(err, context.Canceled) || !e.Refused() {
		t.Errorf("Open while the server refuses: %v, refused %t", err, e.Refused())
	}
	failure = errors.New("connection lost")
	if _, err := e.Open(ctx); !errors.Is(err, failure) || e.Refused() {
		t.Errorf("Open while the server is unreachable: %v, refused %t", err, e.Refused())
	}
}
