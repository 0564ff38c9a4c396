package process

import (
	"bytes"
	"sync"
)

// maxLog bounds the output of a server that is kept in memory: the beginning is dropped.
const maxLog = 4 << 20

var raceReport = []byte("WARNING: DATA RACE")

// output collects the output of all processes of one server.
type output struct {
	mu    sync.Mutex
	data  []byte
	races int
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	from := max(0, len(o.data)-len(raceReport)+1)
	o.data = append(o.data, p...)
	o.races += bytes.Count(o.data[from:], raceReport)
	if len(o.data) > maxLog {
		o.data = append([]byte(nil), o.data[len(o.data)-maxLog/2:]...)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.data)
}

func (o *output) raceReports() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.races
}

// tail returns the last n bytes, from the beginning of a line.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	for i := range len(s) {
		if s[i] == '\n' {
			return s[i+1:]
		}
	}
	return s
}
