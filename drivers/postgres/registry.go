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

// Register implements [log.Registry]. The other replicas are notified, so that one that was alone knows at once that it
// is not.
func (l *Log) Register(ctx context.Context, self log.Replica) ([]log.Replica, error) {
	// As bytes, which JSON keeps whatever they are.
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
	err = l.request(ctx, "register", l.followers, func(bound context.Context, c *pgconn.PgConn) error {
		replicas = nil
		return l.rows(bound, c, &l.sql.register, params, func(row [][]byte) error {
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
	// Here, because the database takes an ID for a signed number.
	slices.SortFunc(replicas, log.Replica.Compare)
	return replicas, nil
}

// alone tells that no other replica is there, so that nobody needs to be notified of appends: that takes a tenth of the
// server's time for them. While it is not known, it is false.
func (l *Log) alone() bool { return l.aloneAt.Load() == l.heard.Load() }

// Unregister implements [log.Registry].
func (l *Log) Unregister(ctx context.Context, id uint64, seen log.Timestamp) error {
	params := [][]byte{binary.BigEndian.AppendUint64(nil, id), binary.BigEndian.AppendUint64(nil, uint64(seen))}
	return l.request(ctx, "unregister", l.followers, func(bound context.Context, c *pgconn.PgConn) error {
		return l.change(bound, c, &l.sql.unregister, params, func() {})
	})
}
