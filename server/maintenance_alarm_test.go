package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
)

// Clients can raise alarms only of existing types, for existing replicas.
func TestUnknownAlarmsAreRefused(t *testing.T) {
	r := serve(t, nil)
	client := pb.NewMaintenanceClient(r.dial(t))
	ctx := within(t)
	raise := func(alarm pb.AlarmType, member uint64) error {
		_, err := client.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: alarm, MemberID: member})
		return err
	}
	self := r.watch.memberID
	for _, invented := range []pb.AlarmType{-1, 3, 9, 1 << 30} {
		if err := raise(invented, self); status.Code(err) != codes.InvalidArgument {
			t.Errorf("type %d: %v", invented, err)
		}
	}
	if err := raise(pb.AlarmType_NOSPACE, self+1); !errors.Is(rpctypes.Error(err), rpctypes.ErrMemberNotFound) {
		t.Errorf("an invented member: %v", err)
	}
	for _, alarm := range []pb.AlarmType{pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT} {
		for _, member := range []uint64{0, self, self} {
			if err := raise(alarm, member); err != nil {
				t.Errorf("%v of %x: %v", alarm, member, err)
			}
		}
	}
	st, err := client.Status(ctx, &pb.StatusRequest{})
	if err != nil || len(st.Errors) != 4 {
		t.Errorf("status %v: %v", st, err)
	}
}

// Status and /health list a bounded number of the alarms that older versions accepted.
func TestUnknownAlarmsOfLogAreBounded(t *testing.T) {
	r := serve(t, nil)
	client := pb.NewMaintenanceClient(r.dial(t))
	ctx := within(t)
	invent := func(alarm logstructured.AlarmType, members int) {
		_, err := r.store.UpdateRecords(ctx, logstructured.Unguarded,
			func(logstructured.Records) (changes []logstructured.RecordChange, _ error) {
				for i := range members {
					changes = append(changes,
						logstructured.RecordChange{Name: fmt.Sprintf("alarm/%d/%016x", alarm, i+1)})
				}
				return changes, nil
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	invent(57, 500)
	if reason := r.watch.unhealthy(httptest.NewRequest(http.MethodGet, "/health", http.NoBody)); reason != "" {
		t.Errorf("health: %s", reason)
	}
	if st := statusOf(ctx, t, client); len(st.Errors) > 0 {
		t.Errorf("status of unknown alarms: %v", st.Errors)
	}
	invent(logstructured.AlarmNoSpace, 500)
	if st := statusOf(ctx, t, client); len(st.Errors) != maxAlarmTexts {
		t.Errorf("status lists %d alarms", len(st.Errors))
	}
	resp, err := client.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: 57, MemberID: 3})
	if err != nil || len(resp.Alarms) != 1 {
		t.Errorf("disarming an unknown alarm: %v, %v", resp, err)
	}
}

func statusOf(ctx context.Context, t *testing.T, client pb.MaintenanceClient) *pb.StatusResponse {
	t.Helper()
	st, err := client.Status(ctx, &pb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}
