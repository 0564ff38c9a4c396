// Package port finds free TCP ports for servers under test.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The range is below the ports that the kernel assigns to outgoing connections: a server that is killed and restarted
// on its port must not find a client's connection on it.
const (
	first = 15000
	count = 16000
)

// Free returns "127.0.0.1:port" with a port on which no process listens.
func Free(t testing.TB) string {
	t.Helper()
	var last error
	for range 200 {
		address := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(count))
		l, err := net.Listen("tcp", address)
		if err != nil {
			last = err
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatalf("close the probe of %s: %v", address, err)
		}
		return address
	}
	t.Fatalf("no free port: %v", last)
	return ""
}
