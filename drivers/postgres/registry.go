package postgres

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-db/stele/logstructured"
)

// Register implements [logstructured.Registry]. Replicas that were not seen for ten times ttl are forgotten.
func (l *Log) Register(ctx context.Context, self logstructured.Replica, ttl time.Duration) ([]logstructured.Replica, error) {
	urls, err := json.Marshal(self.ClientURLs)
	if err != nil {
		return nil, fmt.Errorf("postgres: register: %w", err)
	}
	id := binary.BigEndian.AppendUint64(nil, self.ID)
	milliseconds := binary.BigEndian.AppendUint64(nil, uint64(ttl.Milliseconds()))
	params := [][]byte{id, []byte(self.Name), urls, []byte(self.Version), milliseconds}
	var replicas []logstructured.Replica
	err = l.request(ctx, "register", func(bound context.Context, c *pgconn.PgConn) error {
		replicas = nil
		return l.rows(bound, c, &l.sql.register, params, func(row [][]byte) error {
			r := logstructured.Replica{
				ID:      uint64(int64Of(row[0])),
				Name:    string(row[1]),
				Version: string(row[3]),
				Since:   logstructured.Timestamp(int64Of(row[4])),
				Seen:    logstructured.Timestamp(int64Of(row[5])),
			}
			if err := json.Unmarshal(row[2], &r.ClientURLs); err != nil {
				return fmt.Errorf("client URLs of replica %x: %w", r.ID, err)
			}
			replicas = append(replicas, r)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return replicas, nil
}

// Unregister implements [logstructured.Registry].
func (l *Log) Unregister(ctx context.Context, id uint64) error {
	params := [][]byte{binary.BigEndian.AppendUint64(nil, id)}
	return l.request(ctx, "unregister", func(bound context.Context, c *pgconn.PgConn) error {
		return l.change(bound, c, &l.sql.unregister, params, func() {})
	})
}
