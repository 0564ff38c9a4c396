//go:build linux

package postgres

import (
	"net"
	"testing"
	"time"
)

// TestQuietSocket checks a connection on which another goroutine waits to read, as in pgx after a slow write.
func TestQuietSocket(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = client.Read(make([]byte, 1))
	}()
	result := make(chan bool, 1)
	go func() { result <- quietSocket(client) }()
	select {
	case quiet := <-result:
		if !quiet {
			t.Error("a connection on which nothing came is not quiet")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("looking waits for the reader")
	}
	_ = server.Close()
	<-read
	if quietSocket(client) {
		t.Error("a connection that has ended is quiet")
	}
}
