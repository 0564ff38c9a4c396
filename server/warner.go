package server

import (
	"maps"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// warningPeriod is the time in which a warning about a client is not repeated.
	warningPeriod = 10 * time.Minute
	// maxWarnings bounds the pairs of warning kind and client that a warner remembers, and so its log lines in each
	// period.
	maxWarnings = 1000
	// maxWarningText bounds how much of a text sent by a client is logged, such as a user name.
	maxWarningText = 512
)

// warner logs refused requests. Clients repeat requests that fail, so each kind of refusal is logged once per client in
// each warningPeriod, with the number of refusals that were not logged before.
type warner struct {
	logger *logrus.Entry
	now    func() time.Time

	mu       sync.Mutex
	warnings map[warningKey]*warning
}

type warningKey struct{ kind, client string }

// warning records when a warning was last logged, and how many were suppressed since.
type warning struct {
	at       time.Time
	repeated int
}

func newWarner(logger *logrus.Entry) *warner {
	return &warner{logger: logger, now: time.Now, warnings: make(map[warningKey]*warning)}
}

// warn logs message about a client host, unless it has logged that kind of warning about that client within
// warningPeriod. It calls fields only if it logs; fields returns further fields of the line.
func (w *warner) warn(kind, host, message string, err error, fields func() logrus.Fields) {
	repeated, due := w.due(warningKey{kind, networkOf(host)})
	if !due {
		return
	}
	line := w.logger.WithField("client", shortened(host))
	for name, value := range fields() {
		if text, ok := value.(string); ok {
			value = shortened(text)
		}
		line = line.WithField(name, value)
	}
	if repeated > 0 {
		line = line.WithField("repeated", repeated)
	}
	line.WithField("error", shortened(err.Error())).
		Warn(message + "; further ones by this client are not logged for 10 minutes")
}

// due reports whether to log a warning now, and how many were suppressed since the last one.
func (w *warner) due(key warningKey) (repeated int, due bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if last := w.warnings[key]; last != nil {
		if now.Sub(last.at) < warningPeriod {
			last.repeated++
			return 0, false
		}
		repeated = last.repeated
	} else if len(w.warnings) >= maxWarnings {
		maps.DeleteFunc(w.warnings, func(_ warningKey, last *warning) bool { return now.Sub(last.at) >= warningPeriod })
		if len(w.warnings) >= maxWarnings {
			return 0, false
		}
	}
	w.warnings[key] = &warning{at: now}
	return repeated, true
}

func shortened(text string) string {
	if len(text) > maxWarningText {
		return text[:maxWarningText] + "..."
	}
	return text
}
