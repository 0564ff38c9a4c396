package mysql

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"slices"

	"github.com/stele-db/stele/logstructured/log"
)

// Register implements [log.Registry].
func (l *Log) Register(ctx context.Context, self log.Replica) ([]log.Replica, error) {
	urls, err := json.Marshal(self.ClientURLs)
	if err != nil {
		return nil, translate("register", err)
	}
	var replicas []log.Replica
	err = l.run(ctx, l.followers, func(ctx context.Context, s *session) error {
		if _, err := s.change(ctx, l.sql.register, []driver.NamedValue{
			{Value: int64(self.ID)}, {Value: []byte(self.Name)}, {Value: urls}, {Value: []byte(self.Version)},
		}); err != nil {
			return err
		}
		return s.query(ctx, l.sql.registered, []driver.NamedValue{}, func(row []driver.Value) error {
			r := log.Replica{
				ID: uint64(integer(row[0])), Name: text(row[1]), Version: text(row[3]),
				Since: log.Timestamp(integer(row[4])), Seen: log.Timestamp(integer(row[5])),
			}
			if err := json.Unmarshal(blob(row[2]), &r.ClientURLs); err != nil {
				return err
			}
			replicas = append(replicas, r)
			return nil
		})
	})
	if err != nil {
		return nil, translate("register", err)
	}
	slices.SortFunc(replicas, log.Replica.Compare)
	return replicas, nil
}

// Unregister implements [log.Registry].
func (l *Log) Unregister(ctx context.Context, id uint64, seen log.Timestamp) error {
	return translate("unregister", l.run(ctx, l.followers, func(ctx context.Context, s *session) error {
		_, err := s.change(ctx, l.sql.unregister, arguments(int64(id), int64(seen), int64(seen)))
		return err
	}))
}
