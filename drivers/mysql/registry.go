package mysql

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/json"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	registerSQL = `INSERT INTO stele_replica (id, name, urls, version, since, seen) VALUES (IF(` + writableSQL + `, ?, NULL), ?, ?, ?, ` + nowSQL + `, ` + nowSQL + `)
	ON DUPLICATE KEY UPDATE name = VALUES(name), urls = VALUES(urls), version = VALUES(version), seen = VALUES(seen)`
	registeredSQL = `SELECT id, name, urls, version, since, seen, ` + nowSQL + ` FROM stele_replica`
	unregisterSQL = `DELETE FROM stele_replica WHERE id = ? AND seen <= ? AND ` + writableSQL
	anyTime       = 1<<63 - 1
	// forgetAfter is how many times the ttl a replica may be silent before its row is deleted.
	forgetAfter = 20
)

// Register implements [log.Registry].
func (l *Log) Register(ctx context.Context, self log.Replica, ttl time.Duration) ([]log.Replica, error) {
	urls, err := json.Marshal(self.ClientURLs)
	if err != nil {
		return nil, translate("register", err)
	}
	var replicas []log.Replica
	err = l.read(ctx, l.followers, func(ctx context.Context, s *session) error {
		if _, err := s.change(ctx, l.sql.register, []driver.NamedValue{
			{Value: int64(self.ID)}, {Value: []byte(self.Name)}, {Value: urls}, {Value: []byte(self.Version)},
		}); err != nil {
			return err
		}
		var gone []int64
		var now log.Timestamp
		if err := s.query(ctx, l.sql.registered, []driver.NamedValue{}, func(row []driver.Value) error {
			r := log.Replica{
				ID: uint64(integer(row[0])), Name: text(row[1]), Version: text(row[3]),
				Since: log.Timestamp(integer(row[4])), Seen: log.Timestamp(integer(row[5])),
			}
			now = log.Timestamp(integer(row[6]))
			switch silent := time.Duration(now-r.Seen) * time.Millisecond; {
			case silent > forgetAfter*ttl && r.ID != self.ID:
				gone = append(gone, int64(r.ID))
			case silent <= ttl || r.ID == self.ID: // the second statement may be late
				if err := json.Unmarshal(blob(row[2]), &r.ClientURLs); err != nil {
					return err
				}
				replicas = append(replicas, r)
			}
			return nil
		}); err != nil {
			return err
		}
		for _, id := range gone {
			if _, err := s.change(ctx, l.sql.unregister, arguments(id, int64(now)-int64(forgetAfter*ttl/time.Millisecond))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, translate("register", err)
	}
	slices.SortFunc(replicas, func(a, b log.Replica) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.ID, b.ID))
	})
	return replicas, nil
}

// Unregister implements [log.Registry].
func (l *Log) Unregister(ctx context.Context, id uint64) error {
	return translate("unregister", l.read(ctx, l.followers, func(ctx context.Context, s *session) error {
		_, err := s.change(ctx, l.sql.unregister, arguments(int64(id), anyTime))
		return err
	}))
}
