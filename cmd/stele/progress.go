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

// progressEvery is the time between two lines in the log about progress.
const progressEvery = 10 * time.Second

// progress reports the progress of a long operation: by a bar if stderr is a terminal, otherwise by lines in the log. A
// nil progress reports nothing.
type progress struct {
	mu     sync.Mutex
	bar    *progressbar.ProgressBar
	logger *logrus.Entry
	what   string
	// total is 0 if it is not known.
	total, at  int64
	reportedAt time.Time
}

// newProgress returns the progress of the operation named what on total items; 0 means that their number is unknown.
func newProgress(stderr io.Writer, logger *logrus.Entry, what string, total int64) *progress {
	p := &progress{logger: logger, what: what, total: total, reportedAt: time.Now()}
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

// set reports that n items are done.
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
		_ = p.bar.Set64(n) // a failure of the terminal does not fail the operation
		return
	}
	if time.Since(p.reportedAt) >= progressEvery {
		p.reportedAt = time.Now()
		p.logger.WithFields(logrus.Fields{"done": p.at, "of": p.total}).Info(p.what)
	}
}

// end removes the bar.
func (p *progress) end() {
	if p != nil && p.bar != nil {
		_ = p.bar.Finish()
	}
}
