package postgres

import "github.com/jackc/pgx/v5/pgconn"

// noticeKey is where a connection keeps that the server has warned.
const noticeKey = "stele.warned"

// keepNotice remembers a warning that came with a statement. There is just one that a statement of ours can meet: that
// the wait for a synchronous standby was broken off.
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
