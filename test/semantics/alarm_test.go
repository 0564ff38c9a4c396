package semantics

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"

	"github.com/stele-db/stele/test/internal/stele"
)

const (
	noSpaceText = "etcdserver: mvcc: database space exceeded"
	corruptText = "etcdserver: corrupt cluster"
)

func TestAlarms(t *testing.T) {
	// The quota is small enough for one rule to fill, and larger than an empty database.
	onBoth(t, alarmRules, "--quota-backend-bytes=4000000")
}

func (e *env) alarm(action pb.AlarmRequest_AlarmAction, alarm pb.AlarmType, member uint64) []*pb.AlarmMember {
	e.Helper()
	a, err := e.Maintenance.Alarm(e.ctx, &pb.AlarmRequest{Action: action, Alarm: alarm, MemberID: member})
	equal(e, "header revision", must(e, a, err).Header.Revision, e.revision())
	return a.Alarms
}

// member returns the ID of the member that answers.
func (e *env) member() uint64 {
	e.Helper()
	a, err := e.Maintenance.Status(e.ctx, &pb.StatusRequest{})
	return must(e, a, err).Header.MemberId
}

// health returns the status code and body of a path.
func (e *env) health(path string) string {
	e.Helper()
	r, err := http.NewRequestWithContext(e.ctx, http.MethodGet, "http://"+e.Address+path, http.NoBody)
	a, err := http.DefaultClient.Do(must(e, r, err))
	defer func() { _ = must(e, a, err).Body.Close() }()
	body, err := io.ReadAll(a.Body)
	return fmt.Sprint(a.StatusCode, " ", strings.TrimSpace(string(must(e, body, err))))
}

// tryAll returns the names of the requests that are refused.
func (e *env) tryAll() string {
	var refusals []string
	try := func(name string, call func() error) {
		if err := call(); err != nil {
			refusals = append(refusals, name)
		}
	}
	lease, leaseErr := e.Lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: 60})
	try("grant", func() error { return leaseErr })
	try("put", func() error {
		_, err := e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k")})
		return err
	})
	try("txn with a put in the branch not taken", func() error {
		_, err := e.KV.Txn(e.ctx, &pb.TxnRequest{Failure: []*pb.RequestOp{putOp(e.key("k"), "")}})
		return err
	})
	try("txn that deletes", func() error {
		_, err := e.KV.Txn(e.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{deleteOp(e.key("k"), nil)}})
		return err
	})
	try("txn that reads", func() error {
		_, err := e.KV.Txn(e.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{rangeOp(e.everything())}})
		return err
	})
	try("delete", func() error {
		_, err := e.KV.DeleteRange(e.ctx, &pb.DeleteRangeRequest{Key: e.key("k")})
		return err
	})
	try("range", func() error {
		_, err := e.KV.Range(e.ctx, e.everything())
		return err
	})
	try("serializable range", func() error {
		_, err := e.KV.Range(e.ctx, &pb.RangeRequest{Key: e.key("k"), Serializable: true})
		return err
	})
	try("hash", func() error {
		_, err := e.Maintenance.HashKV(e.ctx, &pb.HashKVRequest{})
		return err
	})
	try("compact", func() error {
		_, err := e.KV.Compact(e.ctx, &pb.CompactionRequest{Revision: e.revision()})
		return err
	})
	_ = lease
	return strings.Join(refusals, ", ")
}

var alarmRules = []rule{
	{"nothing is refused without alarms", func(e *env) {
		e.put("more", "")
		equal(e, "refused", e.tryAll(), "")
		equal(e, "alarms", len(e.alarm(pb.AlarmRequest_GET, pb.AlarmType_NONE, 0)), 0)
		equal(e, "health", e.health("/health"), `200 {"health":"true","reason":""}`)
		a, err := e.Maintenance.Status(e.ctx, &pb.StatusRequest{})
		equal(e, "quota", must(e, a, err).DbSizeQuota, 4_000_000)
	}},
	{"NOSPACE refuses requests that take space", func(e *env) {
		member := e.member()
		raised := e.alarm(pb.AlarmRequest_ACTIVATE, pb.AlarmType_NOSPACE, member)
		equal(e, "raised", fmt.Sprint(len(raised), raised[0].MemberID == member, raised[0].Alarm), "1 true NOSPACE")
		equal(e, "raised again", len(e.alarm(pb.AlarmRequest_ACTIVATE, pb.AlarmType_NOSPACE, member)), 1)
		e.del("k")
		refused(e, codes.ResourceExhausted, noSpaceText, func() (*pb.PutResponse, error) {
			return e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k")})
		})
		refused(e, codes.ResourceExhausted, noSpaceText, func() (*pb.TxnResponse, error) {
			return e.KV.Txn(e.ctx, &pb.TxnRequest{
				Success: []*pb.RequestOp{txnOp(&pb.TxnRequest{Failure: []*pb.RequestOp{putOp(e.key("k"), "")}})},
			})
		})
		refused(e, codes.ResourceExhausted, noSpaceText, func() (*pb.LeaseGrantResponse, error) {
			return e.Lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: 60})
		})
		// The compaction is refused because the previous call of tryAll has made it.
		equal(e, "refused", e.tryAll(), "grant, put, txn with a put in the branch not taken, compact")
		equal(e, "listed", len(e.alarm(pb.AlarmRequest_GET, pb.AlarmType_NOSPACE, 0)), 1)
		equal(e, "listed of another type", len(e.alarm(pb.AlarmRequest_GET, pb.AlarmType_CORRUPT, 0)), 0)
		a, err := e.Maintenance.Status(e.ctx, &pb.StatusRequest{})
		equal(e, "errors", len(must(e, a, err).Errors), 1)
		equal(e, "error", strings.ReplaceAll(a.Errors[0], "  ", " "), fmt.Sprintf("memberID:%d alarm:NOSPACE", member))
		equal(e, "health", e.health("/health"), `503 {"health":"false","reason":"ALARM NOSPACE"}`)
		equal(e, "health without it", e.health("/health?exclude=NOSPACE"), `200 {"health":"true","reason":""}`)
		equal(e, "ready", e.health("/readyz/data_corruption"), "200 ok")

		equal(e, "another member's", len(e.alarm(pb.AlarmRequest_DEACTIVATE, pb.AlarmType_NOSPACE, member+1)), 0)
		equal(e, "of no type", len(e.alarm(pb.AlarmRequest_DEACTIVATE, pb.AlarmType_NONE, member)), 0)
		equal(e, "cleared", len(e.alarm(pb.AlarmRequest_DEACTIVATE, pb.AlarmType_NOSPACE, member)), 1)
		e.put("k", "")
	}},
	{"CORRUPT stops every write", func(e *env) {
		e.put("k", "")
		member := e.member()
		e.alarm(pb.AlarmRequest_ACTIVATE, pb.AlarmType_CORRUPT, member)
		refused(e, codes.DataLoss, corruptText, func() (*pb.PutResponse, error) {
			return e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k")})
		})
		equal(e, "refused", e.tryAll(),
			"grant, put, txn with a put in the branch not taken, txn that deletes, delete, compact")
		equal(e, "health", e.health("/health"), `503 {"health":"false","reason":"ALARM CORRUPT"}`)
		equal(e, "ready", e.health("/readyz/data_corruption"),
			"503 [-]data_corruption failed: alarm activated: CORRUPT")
		equal(e, "live", e.health("/livez"), "200 ok")
		equal(e, "cleared", len(e.alarm(pb.AlarmRequest_DEACTIVATE, pb.AlarmType_CORRUPT, member)), 1)
		e.put("k", "")
		equal(e, "ready again", e.health("/readyz/data_corruption"), "200 ok")
	}},
	{"an alarm without a type is ignored", func(e *env) {
		equal(e, "raised", len(e.alarm(pb.AlarmRequest_ACTIVATE, pb.AlarmType_NONE, 77)), 0)
		equal(e, "alarms", len(e.alarm(pb.AlarmRequest_GET, pb.AlarmType_NONE, 0)), 0)
	}},
	{"an alarm names no member", func(e *env) {
		equal(e, "raised", len(e.alarm(pb.AlarmRequest_ACTIVATE, pb.AlarmType_NOSPACE, 0)), 1)
		equal(e, "raised again", len(e.alarm(pb.AlarmRequest_ACTIVATE, pb.AlarmType_NOSPACE, 0)), 1)
		equal(e, "alarms", len(e.alarm(pb.AlarmRequest_GET, pb.AlarmType_NONE, 0)), 1)
		equal(e, "cleared", len(e.alarm(pb.AlarmRequest_DEACTIVATE, pb.AlarmType_NOSPACE, 0)), 1)
	}},
	{"a full database raises NOSPACE", func(e *env) {
		if stele.Kind() == "tidb" {
			e.Skip("TiDB's size is an estimate that comes late: docs/databases.md")
		}
		large := strings.Repeat("x", 300_000)
		var err error
		for i := 0; err == nil; i++ {
			if i > 100 {
				e.Fatal("the quota refuses no put")
			}
			_, err = e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key(fmt.Sprint(i)), Value: []byte(large)})
		}
		refused(e, codes.ResourceExhausted, noSpaceText, func() (*pb.PutResponse, error) {
			return e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("small")})
		})
		var raised []*pb.AlarmMember
		e.await(func() bool { // etcd raises it after it has answered the refused request
			raised = e.alarm(pb.AlarmRequest_GET, pb.AlarmType_NOSPACE, 0)
			return len(raised) == 1
		})
		equal(e, "raised by a member", e.isMember(raised[0].MemberID), true)
		e.deleteOf(&pb.DeleteRangeRequest{Key: []byte(e.prefix), RangeEnd: e.end()})

		// A deletion frees no space by itself: the next write raises the alarm again.
		e.alarm(pb.AlarmRequest_DEACTIVATE, pb.AlarmType_NOSPACE, raised[0].MemberID)
		_, err = e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("large"), Value: []byte(large)})
		equal(e, "refused again", err != nil, true)
		e.await(func() bool { return len(e.alarm(pb.AlarmRequest_GET, pb.AlarmType_NOSPACE, 0)) == 1 })
	}},
}
