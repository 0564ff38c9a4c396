package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/logstructured"
)

// serializableRead reads one key from memory.
func (m *member) serializableRead(ctx context.Context) error {
	_, err := m.store.Range(ctx, logstructured.Unguarded, &logstructured.RangeRequest{
		KeyRange:     logstructured.KeyRange{Key: []byte{0}, End: []byte{0}},
		Limit:        1,
		KeysOnly:     true,
		Serializable: true,
	})
	return reason(err)
}

// linearizableRead returns nil if a linearizable read succeeds. It fails at once while the database is known to be
// unreachable.
func (m *member) linearizableRead(ctx context.Context) error {
	if m.store.Lost() {
		return reason(logstructured.ErrUnavailable)
	}
	return reason(m.store.Ready(ctx))
}

// writable fails while the database refuses writes.
func (m *member) writable(context.Context) error { return m.store.Refused() }

// intact fails while the CORRUPT alarm is active, or while all requests are refused because the records of users and
// roles cannot be read.
func (m *member) intact(context.Context) error {
	if err := m.auth.current().Err(); err != nil {
		return err
	}
	if len(m.alarms(pb.AlarmType_CORRUPT)) > 0 {
		return fmt.Errorf("alarm activated: %v", pb.AlarmType_CORRUPT)
	}
	return nil
}

// unhealthy returns the reason why /health fails, and an empty string if it succeeds.
func (m *member) unhealthy(r *http.Request) string {
	query := r.URL.Query()
	for _, a := range m.alarms(pb.AlarmType_NONE) {
		if name := a.Alarm.String(); !slices.Contains(query["exclude"], name) {
			return "ALARM " + name
		}
	}
	if query.Get("serializable") == "true" {
		return rangeError(m.serializableRead(r.Context()))
	}
	if err := m.store.Refused(); err != nil && !m.store.Full() { // a full database raises an alarm
		return "PUT ERROR:" + err.Error()
	}
	return rangeError(m.linearizableRead(r.Context()))
}

func rangeError(err error) string {
	if err != nil {
		return "RANGE ERROR:" + err.Error()
	}
	return ""
}
