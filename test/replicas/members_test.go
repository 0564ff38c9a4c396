package replicas

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/stele"
)

const (
	// forgotten is when a killed replica must have left the member list: the documented time is 10 s, and the others
	// read the list every 3 s.
	forgotten = 15 * time.Second
	// noticed is when the list must show a replica that has registered.
	noticed = 10 * time.Second
)

// members returns the members that a replica lists, by member ID.
func (r *replica) members(ctx context.Context) (map[uint64]*pb.Member, *pb.ResponseHeader, error) {
	list, err := pb.NewClusterClient(r.conn).MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
	if err != nil {
		return nil, nil, err
	}
	byID := map[uint64]*pb.Member{}
	for _, m := range list.Members {
		byID[m.ID] = m
	}
	if len(byID) != len(list.Members) {
		return nil, nil, fmt.Errorf("member IDs are not distinct: %v", list.Members)
	}
	return byID, list.Header, nil
}

// names returns an error unless r lists exactly these replicas, itself under the member ID of its header.
func (r *replica) names(ctx context.Context, want ...*replica) error {
	members, header, err := r.members(ctx)
	if err != nil {
		return err
	}
	var got, wanted []string
	for _, m := range members {
		got = append(got, m.Name+" "+strings.Join(m.ClientURLs, ","))
	}
	for _, w := range want {
		wanted = append(wanted, w.name+" http://"+w.Target)
	}
	slices.Sort(got)
	slices.Sort(wanted)
	if !slices.Equal(got, wanted) {
		return fmt.Errorf("%s lists %v, want %v", r.name, got, wanted)
	}
	if self := members[header.MemberId]; self.GetName() != r.name {
		return fmt.Errorf("%s answers as member %x, which is %v", r.name, header.MemberId, self)
	}
	return nil
}

// agree waits until all replicas of list name exactly these replicas.
func agree(ctx context.Context, t *testing.T, within time.Duration, list ...*replica) time.Duration {
	t.Helper()
	return eventually(t, within, func() error {
		for _, r := range list {
			if err := r.names(ctx, list...); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestMembers lists the members while replicas start, are killed, stop and restart.
func TestMembers(t *testing.T) {
	inParallel(t, func(t *testing.T, kind string) {
		ctx := bounded(t)
		list := start(t, 3, stele.Options{Endpoint: database.Shared(t, kind).DSN(t)})
		t.Logf("three replicas know each other %v after they serve", agree(ctx, t, noticed, list...))
		ids := list.statuses(ctx, t)

		// etcd's client finds all replicas through one.
		if err := list[0].client.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		got := list[0].client.Endpoints()
		slices.Sort(got)
		var want []string
		for _, r := range list {
			want = append(want, "http://"+r.Target)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("Sync found %v, want %v", got, want)
		}
		for range 6 {
			if _, err := list[0].client.Put(ctx, "k", "v"); err != nil {
				t.Errorf("through the endpoints that Sync found: %v", err)
			}
		}
		list.etcdctl(ctx, t)

		// A stopped replica leaves the list before it has exited.
		if err := list[2].Stop(); err != nil {
			t.Fatal(err)
		}
		t.Logf("a replica that stopped was gone after %v", agree(ctx, t, time.Second, list[:2]...))
		if err := list[2].Launch(ctx); err != nil {
			t.Fatal(err)
		}
		agree(ctx, t, noticed, list...)

		// The replica that is called leader is killed; the others agree on another.
		leader := list.leader(ctx, t)
		if err := leader.Kill(); err != nil {
			t.Fatal(err)
		}
		rest := slices.DeleteFunc(slices.Clone(list), func(r *replica) bool { return r == leader })
		took := agree(ctx, t, forgotten, rest...)
		if took < 5*time.Second {
			t.Errorf("a killed replica left the list after %v, which a slow replica would too", took)
		}
		t.Logf("a replica that was killed was gone after %v", took)
		rest.leader(ctx, t)
		if err := leader.Launch(ctx); err != nil {
			t.Fatal(err)
		}
		agree(ctx, t, noticed, list...)
		if again := list.statuses(ctx, t); !slices.Equal(again, ids) {
			t.Errorf("member IDs are %x after restarts, %x before", again, ids)
		}
	})
}

// statuses returns the member IDs in the order of the list.
func (list replicas) statuses(ctx context.Context, t *testing.T) []uint64 {
	t.Helper()
	var ids []uint64
	clusters := map[uint64]bool{}
	for _, r := range list {
		s, err := pb.NewMaintenanceClient(r.conn).Status(ctx, &pb.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.Header.MemberId)
		clusters[s.Header.ClusterId] = true
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(ids))); len(distinct) != len(list) {
		t.Errorf("member IDs are %x", ids)
	}
	if len(clusters) != 1 {
		t.Errorf("the replicas name %d clusters", len(clusters))
	}
	return ids
}

// leader waits until all replicas name the same leader, one of them.
func (list replicas) leader(ctx context.Context, t *testing.T) *replica {
	t.Helper()
	var leader *replica
	eventually(t, noticed, func() error {
		byID := map[uint64]*replica{}
		named := map[uint64]bool{}
		for _, r := range list {
			s, err := pb.NewMaintenanceClient(r.conn).Status(ctx, &pb.StatusRequest{})
			if err != nil {
				return err
			}
			byID[s.Header.MemberId] = r
			named[s.Leader] = true
		}
		for id := range named {
			leader = byID[id]
		}
		if len(named) != 1 || leader == nil {
			return fmt.Errorf("the replicas %v name %v leader", byID, named)
		}
		return nil
	})
	return leader
}

// etcdctl lists all replicas through one.
func (list replicas) etcdctl(ctx context.Context, t *testing.T) {
	t.Helper()
	binary := process.Program{Name: "etcdctl", Package: "go.etcd.io/etcd/etcdctl/v3", Dir: "."}.Binary(t, t.TempDir())
	run := func(args ...string) []string {
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Env = append(os.Environ(), "ETCDCTL_ENDPOINTS="+list[1].Target)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("etcdctl %v: %v\n%s", args, err, out)
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	for _, args := range []string{"member list", "endpoint status --cluster", "endpoint health --cluster"} {
		lines := run(strings.Fields(args)...)
		if len(lines) != len(list) {
			t.Errorf("etcdctl %s has %d lines: %q", args, len(lines), lines)
		}
		for _, r := range list {
			if n := strings.Count(strings.Join(lines, "\n"), r.Target); n != 1 {
				t.Errorf("etcdctl %s names %s %d times: %q", args, r.name, n, lines)
			}
		}
		leaders := 0
		for _, line := range lines {
			fields := strings.Split(line, ", ")
			if args == "endpoint status --cluster" && len(fields) > 8 && fields[8] == "true" {
				leaders++
			}
		}
		if args == "endpoint status --cluster" && leaders != 1 {
			t.Errorf("etcdctl %s shows %d leaders: %q", args, leaders, lines)
		}
	}
}

// TestStartTogether starts replicas on an empty database at the same time.
func TestStartTogether(t *testing.T) {
	inParallel(t, func(t *testing.T, kind string) {
		ctx := bounded(t)
		list := start(t, 3, stele.Options{Endpoint: database.Shared(t, kind).DSN(t)})
		list.statuses(ctx, t)
		client := connect.Client(t, targets(list)...)
		for i := range 9 {
			r, err := client.Put(ctx, "k", fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			if want := int64(i + 2); r.Header.Revision != want {
				t.Errorf("write %d has revision %d, want %d", i, r.Header.Revision, want)
			}
		}
	})
}
