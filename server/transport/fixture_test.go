package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/pkg/tls/tlstest"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// eventually waits for a condition.
func eventually(t testing.TB, condition string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", condition)
		}
	}
}

func listen(t testing.TB, address string, certs *Certificates) *Listener {
	t.Helper()
	l, err := Listen(t.Context(), address, certs)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serverCertificates loads a new server certificate with opts.
func serverCertificates(t testing.TB, ca *tlstest.Authority, opts CertificateOptions) *Certificates {
	t.Helper()
	cert := ca.Issue(t, "server")
	opts.Logger, opts.CertFile, opts.KeyFile = quiet(), cert.CertFile, cert.KeyFile
	certs, err := LoadCertificates(opts)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

// dispatch runs a dispatcher on l until stop is called, or the test ends.
func dispatch(t testing.TB, l *Listener, opts Options) (d *Dispatcher, stop func()) {
	t.Helper()
	opts.Logger = quiet()
	d = NewDispatcher(opts)
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		d.Accept(l)
	}()
	stop = func() {
		_ = l.Close()
		d.Stop()
		<-accepting
	}
	t.Cleanup(stop)
	return d, stop
}

// waiting returns how many connections have not been handed over.
func (d *Dispatcher) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.greetings.Len()
}

// dial opens a connection and sends text.
func dial(t testing.TB, l *Listener, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// awaitEnd waits until the server has closed a connection.
func awaitEnd(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the connection is not closed: %v", err)
	}
}

// clientConfig returns a client configuration with a new certificate.
func clientConfig(t testing.TB, ca *tlstest.Authority, name string) *tls.Config {
	t.Helper()
	ca.Issue(t, name)
	return ca.Client(t, name)
}
