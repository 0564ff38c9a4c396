package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/migrations"
	"github.com/stele-db/stele/logstructured/log"
)

// deleteBatch is the number of rows that one transaction deletes, which takes a few milliseconds.
const deleteBatch = 1000

// Delete implements [log.Log]. Appends do not wait for it, because they touch other rows.
func (l *Log) Delete(ctx context.Context, guard log.Head, positions []log.Position, floor log.Position) error {
	params := int8Params(int64(guard.Position), int64(guard.ID), int64(floor))
	if err := l.guarded(ctx, guard, &l.sql.raiseFloor, params); err != nil {
		return err
	}
	if !slices.IsSorted(positions) {
		positions = slices.Clone(positions)
		slices.Sort(positions) // the contract requires this order, and adjacent positions share pages
	}
	for batch := range slices.Chunk(positions, deleteBatch) {
		start := time.Now()
		params[2] = int8Array(batch)
		if err := l.guarded(ctx, guard, &l.sql.deleteAt, params); err != nil {
			return err
		}
		if len(batch) == deleteBatch {
			// Leave the disk and the CPUs to the appends for half of the time.
			if err := connect.Pause(ctx, min(time.Since(start), time.Second)); err != nil {
				return translate("delete", err)
			}
		}
	}
	return nil
}

// guarded runs a change that returns a row if the log contains the entry guard.
func (l *Log) guarded(ctx context.Context, guard log.Head, q *query, params [][]byte) error {
	return l.request(ctx, "delete", l.others, func(ctx context.Context, c *pgconn.PgConn) error {
		matched := false
		err := l.change(ctx, c, q, params, func() { matched = true })
		if err == nil && !matched {
			err = &stopped{fmt.Errorf("%w: %v is not there", log.ErrConflict, guard)}
		}
		return err
	})
}

// Size implements [log.Log]. It measures the tables of the log and its head with their indexes. InUse is an estimate
// from the server's statistics, which lag a little.
func (l *Log) Size(ctx context.Context) (log.Size, error) {
	var size log.Size
	err := l.request(ctx, "size", l.others, func(ctx context.Context, c *pgconn.PgConn) error {
		return l.rows(ctx, c, &l.sql.size, nil, func(row [][]byte) error {
			live, dead := int64Of(row[1]), int64Of(row[2])
			size.Total = int64Of(row[0])
			size.InUse = size.Total
			if rows := live + dead; dead > 0 {
				size.InUse = int64(float64(size.Total) * float64(live) / float64(rows))
			}
			return nil
		})
	})
	return size, err
}

// Defragment implements [log.Log]. It rewrites the tables, which blocks all other access to them.
func (l *Log) Defragment(ctx context.Context) error {
	return l.request(ctx, "defragment", l.others, func(ctx context.Context, c *pgconn.PgConn) error {
		for _, sql := range []string{`VACUUM FULL {prefix}_log`, `VACUUM FULL {prefix}_head`, `ANALYZE {prefix}_log`} {
			_, err := c.Exec(ctx, migrations.WithPrefix(sql, l.cfg.prefix)).ReadAll()
			switch code(err) {
			case pgerrcode.FeatureNotSupported, pgerrcode.SyntaxError:
				return nil // the database reclaims space by itself
			}
			if err != nil {
				return err
			}
			if warned(c) {
				return errNotOwner
			}
		}
		return nil
	})
}

// errNotOwner reports that the server skipped a table because the user does not own it.
var errNotOwner = errors.New("the user of the data source name may not vacuum the tables, which takes their owner")
