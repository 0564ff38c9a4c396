package postgres

import (
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// hosts is the order in which the servers of a DSN are tried.
type hosts struct {
	mu   sync.Mutex
	turn int
}

// turnKey is the key under which a connection stores the turn at which it was made.
const turnKey = "stele.turn"

// order makes an attempt to connect begin with the host whose turn it is, and returns the turn.
func (h *hosts) order(c *pgconn.Config) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	orderHosts(c, h.turn)
	return h.turn
}

// pass makes later attempts to connect begin with another host than that of c, whose server accepts statements and does
// not finish them. If the other host is a standby, the attempts continue to the next one. Several connections that were
// made in the same turn advance it once.
func (h *hosts) pass(c *pgconn.PgConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.CustomData()[turnKey] == h.turn {
		h.turn++
	}
}

// orderHosts rotates the hosts, with their fallbacks, so that the one with index first (modulo their number) comes
// first.
func orderHosts(c *pgconn.Config, first int) {
	all := append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	var groups [][]*pgconn.FallbackConfig // one group per host, with and without TLS
	for i, f := range all {
		if i > 0 && f.Host == all[i-1].Host && f.Port == all[i-1].Port {
			groups[len(groups)-1] = append(groups[len(groups)-1], f)
			continue
		}
		groups = append(groups, []*pgconn.FallbackConfig{f})
	}
	ordered := make([]*pgconn.FallbackConfig, 0, len(all))
	for i := range groups {
		ordered = append(ordered, groups[(first+i)%len(groups)]...)
	}
	c.Host, c.Port, c.TLSConfig = ordered[0].Host, ordered[0].Port, ordered[0].TLSConfig
	c.Fallbacks = ordered[1:]
}

func severalHosts(c *pgconn.Config) bool {
	for _, f := range c.Fallbacks {
		if f.Host != c.Host || f.Port != c.Port {
			return true
		}
	}
	return false
}
