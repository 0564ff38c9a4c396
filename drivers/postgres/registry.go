package postgres

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-db/stele/logstructured/log"
)

// Register implements [log.Registry]. It notifies the other replicas, so that a replica that was alone learns at once
// of this one.
func (l *Log) Register(ctx context.Context, self log.Replica) ([]log.Replica, error) {
	// JSON encodes bytes as base64 and so preserves them, whether or not they are valid UTF-8.
	urls := make([][]byte, len(self.ClientURLs))
	for i, url := range self.ClientURLs {
		urls[i] = []byte(url)
	}
	urlsJSON, err := json.Marshal(urls)
	if err != nil {
		return nil, fmt.Errorf("postgres: register: %w", err)
	}
	id := binary.BigEndian.AppendUint64(nil, self.ID)
	params := [][]byte{id, []byte(self.Name), urlsJSON, []byte(self.Version)}
	l.self.Store(self.ID)
	heard := l.heard.Load()
	var replicas []log.Replica
	err = l.request(ctx, "register", l.followers, func(ctx context.Context, c *pgconn.PgConn) error {
		replicas = nil
		return l.rows(ctx, c, &l.sql.register, params, func(row [][]byte) error {
			r := log.Replica{
				ID:      uint64(int64Of(row[0])),
				Name:    string(row[1]),
				Version: string(row[3]),
				Since:   log.Timestamp(int64Of(row[4])),
				Seen:    log.Timestamp(int64Of(row[5])),
			}
			var urls [][]byte
			if err := json.Unmarshal(row[2], &urls); err != nil {
				return fmt.Errorf("client URLs of replica %x: %w", r.ID, err)
			}
			for _, url := range urls {
				r.ClientURLs = append(r.ClientURLs, string(url))
			}
			replicas = append(replicas, r)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if len(replicas) > 1 {
		heard = 0
	}
	l.aloneAt.Store(heard)
	// Sort here, because the database treats an ID as a signed number.
	slices.SortFunc(replicas, log.Replica.Compare)
	return replicas, nil
}

// alone reports whether there is no other replica that appends would have to notify. NOTIFY costs a tenth of the
// server's time for an append. alone returns false if it is not known.
func (l *Log) alone() bool { return l.aloneAt.Load() == l.heard.Load() }

// Unregister implements [log.Registry].
func (l *Log) Unregister(ctx context.Context, id uint64, seen log.Timestamp) error {
	params := [][]byte{binary.BigEndian.AppendUint64(nil, id), binary.BigEndian.AppendUint64(nil, uint64(seen))}
	return l.request(ctx, "unregister", l.followers, func(ctx context.Context, c *pgconn.PgConn) error {
		return l.change(ctx, c, &l.sql.unregister, params, func() {})
	})
}
