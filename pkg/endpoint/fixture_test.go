package endpoint

import (
	"bytes"
	"io"
	"sync"

	"github.com/sirupsen/logrus"
)

func logTo(w io.Writer) *logrus.Entry {
	log := logrus.New()
	log.SetOutput(w)
	return logrus.NewEntry(log)
}

// output is what a log wrote.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
