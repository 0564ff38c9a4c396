package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/sirupsen/logrus"
	"golang.org/x/term"
)

// progressEvery is how often a line in the log tells how far something is.
const progressEvery = 10 * time.Second

// progress tells how far something is that takes long: by a bar if stderr is a terminal, and otherwise by a line in the log now and then.
// A nil progress tells nothing.
type progress struct {
	mu   sync.Mutex
	bar  *progressbar.ProgressBar
	log  *logrus.Entry
	what string
	// total is 0 if nobody knows.
	total, at int64
	said      time.Time
}

// newProgress begins to tell about total things (0: nobody knows how many) of which what says what becomes of them.
func newProgress(stderr io.Writer, log *logrus.Entry, what string, total int64) *progress {
	p := &progress{log: log, what: what, total: total, said: time.Now()}
	file, ok := stderr.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return p
	}
	most := total
	if most == 0 {
		most = -1 // a spinner
	}
	p.bar = progressbar.NewOptions64(most, progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(total > 0), progressbar.OptionClearOnFinish())
	return p
}

// set says how many are done.
func (p *progress) set(n int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = n
	if p.bar != nil {
		if p.total > 0 {
			n = min(n, p.total)
		}
		_ = p.bar.Set64(n) // what a terminal does not show is not an error of what it is about
		return
	}
	if time.Since(p.said) >= progressEvery {
		p.said = time.Now()
		p.log.WithFields(logrus.Fields{"done": p.at, "of": p.total}).Info(p.what)
	}
}

// end takes the bar away.
func (p *progress) end() {
	if p != nil && p.bar != nil {
		_ = p.bar.Finish()
	}
}
