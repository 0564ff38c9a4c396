//go:build soak || litestream

package soak

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/stele"
)

const mib = 1 << 20

// rss returns the resident memory of a process in bytes.
func rss(t testing.TB, s *stele.Server) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			kb, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// cpu returns the processor time that a process has used. Unlike the clock it does not depend on other processes.
func cpu(t testing.TB, s *stele.Server) time.Duration {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	// The fields after the name, which may contain spaces, begin with the third; 14 and 15 are user and system ticks of
	// 10 ms.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// fileSize returns the size of the database with its write-ahead log.
func fileSize(t testing.TB, s *stele.Server) int64 {
	t.Helper()
	db, wal := fileSizes(t, s)
	return db + wal
}

// fileSizes returns the sizes of the database and of its write-ahead log.
func fileSizes(t testing.TB, s *stele.Server) (db, wal int64) {
	t.Helper()
	size := func(name string) int64 {
		info, err := os.Stat(filepath.Join(s.Dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err != nil {
			return 0
		}
		return info.Size()
	}
	return size("state.db"), size("state.db-wal")
}

// latencies collects durations from many goroutines.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

// max returns the longest duration, 0 if there is none.
func (l *latencies) max() (longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.all {
		longest = max(longest, d)
	}
	return longest
}

func (l *latencies) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return "none"
	}
	slices.SortFunc(l.all, cmp.Compare[time.Duration])
	at := func(q float64) time.Duration { return l.all[int(q*float64(len(l.all)-1))].Round(10 * time.Microsecond) }
	return fmt.Sprintf("n %d p50 %v p99 %v p99.9 %v max %v", len(l.all), at(0.5), at(0.99), at(0.999), at(1))
}

// watermark samples a figure in a goroutine until the returned function is called, which returns the peak.
func watermark(sample func() int64) (stop func() int64) {
	done, result := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		top := sample()
		for {
			select {
			case <-done:
				result <- max(top, sample())
				return
			case <-tick.C:
				top = max(top, sample())
			}
		}
	}()
	return func() int64 { close(done); return <-result }
}

// eventually waits until met returns true.
func eventually(t testing.TB, within time.Duration, name string, met func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %s", within, name)
		case <-tick.C:
		}
	}
}

// durationFrom returns the duration in an environment variable, or a default.
func durationFrom(t testing.TB, variable string, otherwise time.Duration) time.Duration {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		return otherwise
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return d
}
