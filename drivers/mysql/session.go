package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// rawConn is what the driver's connections can do.
type rawConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// rawStmt is what its statements can do.
type rawStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// session is a connection with the statements that were prepared on it. It is used through the driver's own interface:
// database/sql converts and boxes every column, and may send again what it thinks was not sent; it only keeps the pool
// here.
type session struct {
	rawConn
	// network is what the connection goes over.
	network  net.Conn
	prepared map[string]rawStmt
	// galera tells that the server is a node of a Galera cluster.
	galera bool
	// readOnly reports that the server took no writes when the connection was made.
	readOnly bool
}

func newSession(conn driver.Conn, network net.Conn) (*session, error) {
	raw, ok := conn.(rawConn)
	if !ok {
		return nil, fmt.Errorf("a connection of the driver is a %T", conn) // cannot happen
	}
	return &session{rawConn: raw, network: network, prepared: map[string]rawStmt{}}, nil
}

// watched returns a context for calls of this session that the driver need not watch, which it does by waking a
// goroutine twice for each statement: half of what asking for the end of the log cost. When ctx ends the connection is
// interrupted all the same. release tells whether the connection can go on being used.
func (s *session) watched(ctx context.Context) (unwatched context.Context, release func() bool) {
	return context.WithoutCancel(ctx), context.AfterFunc(ctx, func() {
		_ = s.network.SetDeadline(time.Unix(1, 0)) // long ago; on a closed connection it is of no use and does no harm
	})
}

// Close closes the connection. Saying good-bye to the server is a courtesy that a broken connection cannot extend.
func (s *session) Close() error {
	_ = s.rawConn.Close()
	return nil
}

// prepare prepares a statement.
func (s *session) prepare(ctx context.Context, statement string) (rawStmt, error) {
	p, err := s.PrepareContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	raw, ok := p.(rawStmt)
	if !ok {
		return nil, fmt.Errorf("a statement of the driver is a %T", p) // cannot happen
	}
	return raw, nil
}

// keep prepares a statement that lives as long as the connection. There must be few of them.
func (s *session) keep(ctx context.Context, statement string) (rawStmt, error) {
	if p, ok := s.prepared[statement]; ok {
		return p, nil
	}
	p, err := s.prepare(ctx, statement)
	if err == nil {
		s.prepared[statement] = p
	}
	return p, err
}

// execute runs a statement without parameters.
func (s *session) execute(ctx context.Context, statement string) error {
	_, err := s.ExecContext(ctx, statement, nil)
	return err
}

// changeTries bounds how often a change is tried again that another transaction was in the way of: on Galera two nodes
// change the one row of the store, say.
const changeTries = 5

// change runs a kept statement, which may be run twice without harm, and returns the number of rows that it changed.
func (s *session) change(ctx context.Context, statement string, args []driver.NamedValue) (int64, error) {
	p, err := s.keep(ctx, statement)
	if err != nil {
		return 0, err
	}
	result, err := p.ExecContext(ctx, args)
	for try := 1; try < changeTries && err != nil && outcomeOf(err) == contended; try++ {
		result, err = p.ExecContext(ctx, args)
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// query runs a query and calls row with each of its rows, which is valid during the call only. A query with parameters
// is prepared and kept. If row returns an error the rest is not even read: the connection is closed.
func (s *session) query(ctx context.Context, statement string, args []driver.NamedValue, row func([]driver.Value) error) error {
	var rows driver.Rows
	if args == nil {
		var err error
		if rows, err = s.QueryContext(ctx, statement, nil); err != nil {
			return err
		}
	} else {
		p, err := s.keep(ctx, statement)
		if err != nil {
			return err
		}
		if rows, err = p.QueryContext(ctx, args); err != nil {
			return err
		}
	}
	dest := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(dest); {
		case errors.Is(err, io.EOF):
			return rows.Close()
		case err != nil:
			_ = rows.Close() // says the same
			return err
		}
		if err := row(dest); err != nil {
			_ = s.Close() // else closing the rows would first read them all
			_ = rows.Close()
			return err
		}
	}
}

// refuseReadOnly returns an error if the server takes no writes. COMMIT and statements that change tables cannot carry
// that check themselves.
func (s *session) refuseReadOnly(ctx context.Context) error {
	return s.query(ctx, canWrite, nil, func(row []driver.Value) error {
		if integer(row[0]) == 0 {
			return errReadOnlyServer
		}
		return nil
	})
}

// snapshot runs f with all its queries reading the same snapshot.
func (s *session) snapshot(ctx context.Context, f func() error) error {
	err := s.execute(ctx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ") // the next one only
	if err == nil {
		err = s.execute(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT") // TiDB's takes no READ ONLY beside it
	}
	if err == nil {
		err = f()
	}
	if err == nil {
		err = s.execute(ctx, "COMMIT")
	}
	if err != nil {
		_ = s.Close() // whatever state it is in
	}
	return err
}

// arguments makes the driver's parameters of values.
func arguments(values ...int64) []driver.NamedValue {
	args := make([]driver.NamedValue, len(values))
	for i, v := range values {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return args
}

// text and integer take what the driver delivers.
func text(v driver.Value) string {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case string:
		return v
	case nil:
		return ""
	}
	return fmt.Sprint(v)
}

func integer(v driver.Value) int64 {
	if i, ok := v.(int64); ok {
		return i
	}
	i, err := strconv.ParseInt(text(v), 10, 64) // a type that the server has widened
	if err != nil {
		return 0
	}
	return i
}
