package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

const away = "postgres://user:hunter2@db.example/stele"

// A database that is unreachable for a minute is reached soon after it returns, and the log stays readable.
func TestStartWaitsForTheDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		logger := logTo(&out)
		begin, attempts := time.Now(), 0
		err := retry(t.Context(), logger, away, 0, func() error {
			if attempts++; time.Since(begin) < time.Minute {
				return errors.New("connection refused")
			}
			return nil
		})
		if strings.Contains(out.String(), "still opening") {
			t.Error("short attempts count as long")
		}
		if err != nil || time.Since(begin) > time.Minute+lastRetry || attempts < 30 || attempts > 40 {
			t.Errorf("%d attempts in %v: %v", attempts, time.Since(begin), err)
		}
		said := out.String()
		if n := strings.Count(said, "connection refused"); n < 5 || n > 6 {
			t.Errorf("said %d times", n)
		}
		if !strings.Contains(said, "postgres://db.example:5432/stele") ||
			!strings.Contains(said, "opened the database") || strings.Contains(said, "hunter2") {
			t.Error("does not say which database, or when, or too much")
		}
		if t.Failed() {
			t.Log(said)
		}
	})
}

// The attempt may take long: a server may accept the connection without answering, or the log may be large.
func TestStartSaysThatItTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		logger := logTo(&out)
		slow := func() error {
			time.Sleep(remindEvery + time.Second) //nolint:forbidigo // the clock is synctest's
			return nil
		}
		if err := retry(t.Context(), logger, away, 0, slow); err != nil {
			t.Error(err)
		}
		if !strings.Contains(out.String(), "still opening") || strings.Contains(out.String(), "hunter2") {
			t.Errorf("said %s", out.String())
		}
	})
}

func TestStartFailsWhenWaitingIsInVain(t *testing.T) {
	logger := logTo(t.Output())
	for name, test := range map[string]struct {
		endpoint string
		err      error
	}{
		"wrong password": {away, fmt.Errorf("open: %w", connect.Configuration(errors.New("refused")))},
		"damaged":        {away, fmt.Errorf("row: %w", log.ErrCorrupt)},
		"file":           {"sqlite://state.db", errors.New("no such directory")},
	} {
		attempts := 0
		err := retry(t.Context(), logger, test.endpoint, 0, func() error { attempts++; return test.err })
		if !errors.Is(err, test.err) || attempts != 1 {
			t.Errorf("%s: %d attempts, %v", name, attempts, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	refused := errors.New("refused")
	if err := retry(ctx, logger, away, 0, func() error { cancel(); return refused }); !errors.Is(err, refused) {
		t.Errorf("stopped: %v", err)
	}
}

// TestStartBoundsUnknownHosts uses a host name that cannot be resolved, temporarily or permanently.
func TestStartBoundsUnknownHosts(t *testing.T) {
	unknown := &net.OpError{Op: "dial", Err: &net.DNSError{Name: "db.example", IsNotFound: true}}
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		err := retry(t.Context(), logTo(io.Discard), away, 0, func() error { return unknown })
		if took := time.Since(begin); !errors.Is(err, unknown) || took < unknownHostTime ||
			took > unknownHostTime+lastRetry {
			t.Errorf("%v after %v", err, took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		err := retry(t.Context(), logTo(io.Discard), away, 0, func() error {
			switch passed := time.Since(begin); {
			case passed < unknownHostTime-lastRetry:
				return unknown
			case passed < 5*unknownHostTime:
				return errors.New("connection refused")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// A program that embeds a datastore waits for its database for a limited time.
func TestStartGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, refused := time.Now(), errors.New("refused")
		err := retry(t.Context(), logTo(io.Discard), away, time.Minute, func() error { return refused })
		if took := time.Since(begin); !errors.Is(err, refused) || took < time.Minute || took > time.Minute+lastRetry {
			t.Errorf("%v after %v", err, took)
		}
	})
}
