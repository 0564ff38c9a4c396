package postgres

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// errNoListen reports that the store must poll.
var errNoListen = errors.New("postgres: there is a pooler in between, through which notifications do not come")

// errNoRoom reports that Listen leaves its connection to more important calls for a while.
var errNoRoom = errors.New("postgres: the server refuses further connections")

// Listen implements [log.Notifier] on a connection of its own.
func (l *Log) Listen(ctx context.Context, wake func()) error {
	if l.pooled.Load() {
		return errNoListen
	}
	if l.others.Denied() {
		return errNoRoom
	}
	return translate("listen", l.calls.Run(ctx, func(ctx context.Context) error { return l.listen(ctx, wake) }))
}

func (l *Log) listen(ctx context.Context, wake func()) error {
	// A replaced primary sends no notifications, so the subscription moves with the other connections.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.mu.Lock()
	moved := l.moved
	l.mu.Unlock()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-moved:
			cancel(errMoved)
		case <-ctx.Done():
		}
	}()
	defer func() {
		cancel(nil)
		<-watched
	}()
	var c *pgconn.PgConn
	err := l.authenticated(func() (err error) {
		cfg := l.connConfig()
		cfg.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { l.notified(n, wake) }
		c, err = pgconn.ConnectConfig(ctx, cfg)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	if err := l.prepareSession(ctx, c); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, `LISTEN `+channel(l.cfg.prefix)).ReadAll(); err != nil {
		return err
	}
	l.heard.Add(1) // a replica may have registered before LISTEN took effect
	wake()
	for {
		if err := c.WaitForNotification(ctx); err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// notified handles a notification: an empty one of an append, or one with the ID of a replica that registered.
func (l *Log) notified(n *pgconn.Notification, wake func()) {
	switch {
	case n.Payload == "" && n.PID != l.writerPID.Load():
		l.heard.Add(1)
		wake()
	case n.Payload != "" && n.Payload != strconv.FormatInt(int64(l.self.Load()), 10): // IDs are signed in the database
		l.heard.Add(1)
	}
}

// errMoved ends a subscription whose server may no longer be the primary.
var errMoved = errors.New("the connections were replaced")
