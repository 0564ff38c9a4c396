package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// maxHeaderBytes bounds the header list of a request, uncompressed, with 32 bytes added for each field. etcd's
	// clients send a token and a few tracing fields. The defaults of other gRPC implementations are 8 or 16 KiB.
	maxHeaderBytes = 16 << 10
	// bodyTimeout bounds the time from an HTTP request's header to the end of its body.
	bodyTimeout = 30 * time.Second
	// writeTimeout and writeRate, in bytes per second, bound the time that a client may take to read a piece of a
	// response over HTTP.
	writeTimeout = time.Minute
	writeRate    = 1 << 20
	// jsonFactor bounds the size of a message's JSON encoding relative to the message: base64 turns 3 bytes into 4, and
	// some encoders escape slashes.
	jsonFactor = 2
)

// errBodyTooLarge has the text of etcd's error, which the gateway passes on.
var errBodyTooLarge = errors.New("etcdserver: request is too large")

// httpLimits bound an HTTP request: the size of its body, the time until the body has arrived, and the time for which
// the client may leave a piece of the response unread. The duration of a response is not limited: a watch may be silent
// for days.
type httpLimits struct {
	body                      int64
	bodyTimeout, writeTimeout time.Duration
}

// LimitHTTP returns a handler that limits the body of a request to maxBody bytes. The body must arrive within 30
// seconds. The client must read each piece of the response within a minute, plus the time that the piece takes at 1
// MiB/s.
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

// limitedBody is a request body with a read deadline. The deadline is removed at the end of the body, because net/http
// continues to read from the connection to detect that the client has disconnected.
type limitedBody struct {
	io.ReadCloser
	control *http.ResponseController
	// end is set if the client may send further messages at any time. Then only the first message has a deadline. end
	// ends the request if reading the body fails, because the request would not end otherwise.
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

// limitedWriter sets a deadline for each piece of a response.
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
