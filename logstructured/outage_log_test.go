package logstructured

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/stele-db/stele/logstructured/log"
)

// TestOutageIsLoggedOnceAMinute changes the cause of an outage. Each minute the log shows the current cause, and the
// end at once.
func TestOutageIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, hook := logtest.NewNullLogger()
		logger.SetOutput(io.Discard)
		damages := prometheus.NewCounter(prometheus.CounterOpts{Name: "damages"})
		h := &health{logger: logrus.NewEntry(logger), damages: damages}
		cause := errors.New("connection refused")
		for range 250 { // in 150 seconds
			time.Sleep(600 * time.Millisecond) //nolint:forbidigo // the clock is synctest's
			if len(hook.AllEntries()) == 2 {
				cause = fmt.Errorf("wrong password: %w", log.ErrCorrupt)
			}
			h.observe(t.Context(), cause)
		}
		h.observe(t.Context(), nil)
		want := []string{
			"error the database does not answer; trying again until it does connection refused <nil>",
			"error the database does not answer; trying again until it does connection refused 1m0s",
			"error the database is corrupt; refusing all writes and linearizable reads, with the alarm CORRUPT " +
				"wrong password: database is corrupt 2m0s",
			"info the database answers again <nil> <nil>",
		}
		entries := hook.AllEntries()
		if len(entries) != len(want) {
			t.Fatalf("%d lines, want %d: %v", len(entries), len(want), entries)
		}
		for i, e := range entries {
			got := fmt.Sprint(e.Level, " ", e.Message, " ", e.Data[logrus.ErrorKey], " ", e.Data["for"])
			if got != want[i] {
				t.Errorf("line %d is %q, want %q", i+1, got, want[i])
			}
		}
	})
}
