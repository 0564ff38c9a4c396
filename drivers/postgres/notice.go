package postgres

import "github.com/jackc/pgx/v5/pgconn"

// noticeKey is the key under which a connection records that the server sent a warning.
const noticeKey = "stele.warned"

// keepNotice records a warning of the server. The only warning that the driver's statements can cause is that the
// server stopped waiting for a synchronous standby.
func keepNotice(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" || n.SeverityUnlocalized == "" {
		c.CustomData()[noticeKey] = true
	}
}

func forgetNotice(c *pgconn.PgConn) { delete(c.CustomData(), noticeKey) }

func warned(c *pgconn.PgConn) bool {
	_, ok := c.CustomData()[noticeKey]
	return ok
}
