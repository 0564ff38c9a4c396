package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// maxHeaderBytes bounds the header list of a request, uncompressed, with 32 bytes for each field. Clients of etcd
	// send a token and a few fields that describe a trace. gRPC's other implementations stop at 8 or 16 KiB by default.
	maxHeaderBytes = 16 << 10
	// bodyTimeout bounds the time from an HTTP request's header to the end of its body.
	bodyTimeout = 30 * time.Second
	// writeTimeout and writeRate, in bytes per second, bound the time that a client takes to read a piece of an answer
	// over HTTP.
	writeTimeout = time.Minute
	writeRate    = 1 << 20
	// jsonFactor is how much larger than a message its JSON may be: base64 makes 4 bytes of 3, and some encoders
	// escape slashes.
	jsonFactor = 2
)

// errBodyTooLarge has the text of etcd's error, which the gateway passes on.
var errBodyTooLarge = errors.New("etcdserver: request is too large")

// httpLimits bound what a request over HTTP holds: the size of its body and how long it takes to arrive, and how long
// the client may leave an answer unread. There is no limit for how long an answer takes: a watch may be silent for
// days.
type httpLimits struct {
	body                      int64
	bodyTimeout, writeTimeout time.Duration
}

// LimitHTTP returns a handler whose requests have at most maxBody bytes of body. Each body must arrive, and each piece
// of an answer must be read, within a minute (or the time that it takes at 1 MiB/s, if that is longer).
func LimitHTTP(h http.Handler, maxBody int64) http.Handler {
	return newHTTPLimits(maxBody).handler(h)
}

func newHTTPLimits(maxBody int64) httpLimits {
	return httpLimits{body: maxBody, bodyTimeout: bodyTimeout, writeTimeout: writeTimeout}
}

func (l httpLimits) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(time.Time{})
		if r.Body != nil && r.Body != http.NoBody {
			_ = control.SetReadDeadline(time.Now().Add(l.bodyTimeout))
			body := &limitedBody{ReadCloser: http.MaxBytesReader(w, r.Body, l.body), control: control}
			if clientStream(r.URL.Path) {
				ctx, cancel := context.WithCancel(r.Context())
				defer cancel()
				r, body.end = r.WithContext(ctx), cancel
			}
			r.Body = body
		}
		h.ServeHTTP(&limitedWriter{ResponseWriter: w, control: control, timeout: l.writeTimeout}, r)
	})
}

// limitedBody is a body with a deadline, which is lifted at its end: the connection is still read from then, to notice
// that the client has gone.
type limitedBody struct {
	io.ReadCloser
	control *http.ResponseController
	// end is set if the client may send further messages at any time: only the first has to arrive in time. It ends the
	// request, which does not end by itself if its body cannot be read.
	end func()
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) || b.end != nil && n > 0 {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	if b.end != nil && err != nil && !errors.Is(err, io.EOF) {
		b.end()
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		err = errBodyTooLarge
	}
	return n, err
}

// limitedWriter gives the client time to read each piece of an answer.
type limitedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	patience := w.timeout + time.Duration(len(p))*time.Second/writeRate
	_ = w.control.SetWriteDeadline(time.Now().Add(patience))
	return w.ResponseWriter.Write(p)
}

// Flush implements [http.Flusher].
func (w *limitedWriter) Flush() { _ = w.control.Flush() }

// Unwrap is for [http.ResponseController].
func (w *limitedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
