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

// turnKey is where a connection keeps whose turn it was when it was made.
const turnKey = "stele.turn"

// order lets an attempt to connect begin with the host whose turn it is, and returns the turn.
func (h *hosts) order(c *pgconn.Config) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	orderHosts(c, h.turn)
	return h.turn
}

// pass makes later attempts to connect begin with another host than that of c, which accepts statements and does not
// finish them. If that is a standby they find their way back. Several connections to one host count once.
func (h *hosts) pass(c *pgconn.PgConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.CustomData()[turnKey] == h.turn {
		h.turn++
	}
}

// orderHosts rotates the hosts, with what belongs to each, so that the first of them, counted modulo their number,
// comes first.
func orderHosts(c *pgconn.Config, first int) {
	all := append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	var groups [][]*pgconn.FallbackConfig // one for each host: with and without TLS
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
