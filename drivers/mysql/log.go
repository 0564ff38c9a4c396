package mysql

import (
	"database/sql"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// Log is a [log.Log] in a MySQL, MariaDB, Galera or TiDB database.
type Log struct {
	cfg    *config
	logger *logrus.Entry
	sql    statements

	// followers serves the calls on which linearizable reads and the registration of replicas depend; others serves all
	// other calls except appends. The classes bound the calls, and the pools hold the connections.
	followers, others        *connect.Class[*sql.Conn]
	followerPool, othersPool *sql.DB
	// keepIdle is how many idle connections othersPool keeps.
	keepIdle   int
	readServer *connector
	// writer holds one token, which is nil while there is no connection for appending. Its holder may use the
	// connection.
	writer      chan *writer
	writeServer *connector

	// appender makes the connection for appending.
	appender *connect.Essential[*writer]
	// refusals warns operators of refused connections.
	refusals connect.Complaint

	calls lifetime.Calls
}

var (
	_ log.Log      = (*Log)(nil)
	_ log.Registry = (*Log)(nil)
)
