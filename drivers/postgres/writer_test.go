package postgres

import (
	"errors"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// brokenPipe fails every write.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestWireDetectsUnsentRequests breaks a connection before a request and before the closing message. Only an unsent
// request proves that nothing was executed.
func TestWireDetectsUnsentRequests(t *testing.T) {
	for _, test := range []struct {
		name   string
		send   func(*pgproto3.Frontend)
		failed bool
	}{
		{"request", func(f *pgproto3.Frontend) { f.SendExecute(&pgproto3.Execute{}); f.SendSync(&pgproto3.Sync{}) },
			true},
		{"goodbye", func(f *pgproto3.Frontend) { f.Send(&pgproto3.Terminate{}) }, false},
	} {
		w := &wire{Writer: brokenPipe{}}
		f := pgproto3.NewFrontend(nil, w)
		test.send(f)
		if err := f.Flush(); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: %v", test.name, err)
		}
		if w.failed.Load() != test.failed {
			t.Errorf("%s: failed is %v", test.name, w.failed.Load())
		}
	}
}
