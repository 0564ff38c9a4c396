package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
)

// planOnce lets the server plan each statement of a connection once, and not each time that it is run. Left to itself it takes the plan for the given
// parameters to be the better one of every read of the log's end, and making it takes longer than running it. A plan for any parameters never
// changes, so it must not be one that was right while the table was small: with sequential scans out of the way there is only the primary key. What they
// count as costs would then have the statements compiled, which takes a thousand times as long as running them.
//
// A server that does not know the settings does without.
func planOnce(ctx context.Context, c *pgconn.PgConn) {
	_, _ = c.Exec(ctx, `SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off`).ReadAll()
}
