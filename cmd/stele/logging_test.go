package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestJSONLogHasDurationsWithUnits checks that durations have units, so that programs that read the log need not assume
// nanoseconds.
func TestJSONLogHasDurationsWithUnits(t *testing.T) {
	var out strings.Builder
	log, err := (&logConfig{format: "json", level: "info"}).logger(&out)
	if err != nil {
		t.Fatal(err)
	}
	log.WithField("after", 1500*time.Millisecond).WithField("keys", 3).Info("the database answers again")
	var fields map[string]any
	if err := json.Unmarshal([]byte(out.String()), &fields); err != nil || fields["after"] != "1.5s" ||
		fields["keys"] != 3.0 {
		t.Errorf("%s: %v", out.String(), err)
	}
}

// TestJSONLogHasTheLastError checks that the last line on standard error is also JSON.
func TestJSONLogHasTheLastError(t *testing.T) {
	p := launch(t, t.TempDir(), nil, "--log-format=json", "--listen-address=127.0.0.1:0", "--endpoint=sqlite:///tmp")
	if code := p.wait(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	var fields map[string]any
	err := json.Unmarshal([]byte(p.stderr.String()), &fields)
	text, _ := fields["error"].(string)
	if err != nil || fields["severity"] != "fatal" || !strings.HasPrefix(text, "--endpoint: /tmp is a directory") {
		t.Errorf("%s: %v", p.stderr.String(), err)
	}
}
