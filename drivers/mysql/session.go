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

// rawConn lists the interfaces that the driver's connections implement.
type rawConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// rawStmt lists the interfaces that the driver's statements implement.
type rawStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// session is a connection with its prepared statements. It uses the driver's interface directly, because database/sql
// converts and boxes every column and may repeat a statement that it considers unsent. database/sql only manages the
// pool here.
type session struct {
	rawConn
	// network is the network connection below the session.
	network  net.Conn
	prepared map[string]rawStmt
	engine   engine
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

// watched returns a context that the driver does not watch, for the calls of this session. The driver watches a context
// by waking a goroutine twice for each statement, which was half of the cost of reading the head. The end of ctx still
// interrupts the connection. release reports whether the connection remains usable.
func (s *session) watched(ctx context.Context) (unwatched context.Context, release func() bool) {
	return context.WithoutCancel(ctx), context.AfterFunc(ctx, func() {
		_ = s.network.SetDeadline(time.Unix(1, 0)) // in the past; harmless on a closed connection
	})
}

// Close closes the connection. It ignores errors, because a broken connection cannot send the closing message.
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

// keep prepares a statement and keeps it as long as the connection lives. There must be few of them.
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

// changeTries bounds the attempts at a change that conflicts with a concurrent transaction. On Galera, for example, two
// nodes may change the single row of the store table.
const changeTries = 5

// change runs a kept statement, which must be safe to repeat, and returns the number of rows that it changed.
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

// query runs a query and calls row with each of its rows, which are valid only during the call. It prepares and keeps a
// query that has parameters. If row returns an error, query closes the connection instead of reading the remaining
// rows.
func (s *session) query(
	ctx context.Context, statement string, args []driver.NamedValue, row func([]driver.Value) error,
) error {
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
			_ = rows.Close() // returns the same error
			return err
		}
		if err := row(dest); err != nil {
			_ = s.Close() // otherwise closing the rows would read all of them first
			_ = rows.Close()
			return err
		}
	}
}

// refuseReadOnly returns an error if the server takes no writes. It serves COMMIT and DDL statements, which cannot
// carry that check themselves.
func (s *session) refuseReadOnly(ctx context.Context) error {
	return s.query(ctx, canWrite, nil, func(row []driver.Value) error {
		if integer(row[0]) == 0 {
			return errReadOnlyServer
		}
		return nil
	})
}

// snapshot runs f so that all its queries read the same snapshot.
func (s *session) snapshot(ctx context.Context, f func() error) error {
	err := s.execute(ctx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ") // applies to the next transaction only
	if err == nil {
		err = s.execute(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT") // TiDB does not accept READ ONLY in it
	}
	if err == nil {
		err = f()
	}
	if err == nil {
		err = s.execute(ctx, "COMMIT")
	}
	if err != nil {
		_ = s.Close() // its state is not known
	}
	return err
}

// arguments converts values to the driver's parameters.
func arguments(values ...int64) []driver.NamedValue {
	args := make([]driver.NamedValue, len(values))
	for i, v := range values {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return args
}

// text and integer convert column values of the driver.
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
	i, err := strconv.ParseInt(text(v), 10, 64) // the server has widened the type
	if err != nil {
		return 0
	}
	return i
}
