package main

import (
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestRecover(t *testing.T) {
	for _, mode := range []string{"ttl", "etcd"} {
		dir := t.TempDir()
		p := start(t, dir, "--lease-mode="+mode)
		put(t, p.kv(), "a", "v")
		seen := put(t, p.kv(), "b", "v")
		p.stop()
		run := func(code int, want string, args ...string) {
			t.Helper()
			p := launch(t, dir, nil, args...)
			if got := p.wait(); got != code || !strings.Contains(p.stdout.String()+p.stderr.String(), want) {
				t.Errorf("%q: exit code %d, want %d and %q", args, got, code, want)
			}
		}
		run(1, "--bump-revision", "recover", "--mark-compacted")
		run(1, "--mark-compacted", "recover", "--bump-revision=1000")
		run(1, "cannot raise", "recover", "--bump-revision=9223372036854775807", "--mark-compacted")
		run(0, "is at revision 1003, and everything before is compacted", "recover", "--bump-revision=1000",
			"--mark-compacted")
		run(0, "revision 1003, compact revision 1003, problems: 0", "check")

		p = start(t, dir, "--lease-mode="+mode)
		if got := put(t, p.kv(), "c", "v"); got != 1004 {
			t.Errorf("the next revision is %d", got)
		}
		resp, err := p.kv().Range(testContext(t), &pb.RangeRequest{Key: []byte("a")}, grpc.WaitForReady(true))
		if err != nil || resp.Count != 1 || resp.Header.RaftTerm != 2 {
			t.Errorf("%v, %v", resp, err)
		}
		request := &pb.RangeRequest{Key: []byte("a"), Revision: seen}
		if _, err := p.kv().Range(testContext(t), request); status.Code(err) != codes.OutOfRange {
			t.Errorf("a read of what was lost: %v", err)
		}
		p.stop()
		run(0, "problems: 0", "check")
	}
}
