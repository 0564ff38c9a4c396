package transport

import "testing"

// The limit of connections leaves the reserved descriptors free.
func TestMaxConnections(t *testing.T) {
	for _, c := range []struct {
		limit          uint64
		reserved, want int
	}{
		{1024, 150, 874}, {256, 150, 106}, {256, 650, 64}, {100, 150, 25}, {2, 150, 1}, {0, 150, 1<<31 - 1}, {1 << 63,
			150, 1<<31 - 1},
	} {
		if got := maxConnections(c.limit, c.reserved); got != c.want {
			t.Errorf("%d files, %d reserved: %d connections, want %d", c.limit, c.reserved, got, c.want)
		}
	}
}
