package copies

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// contents is everything that a client can read from a store.
type contents struct {
	revision, compacted int64
	// keys are the keys at each revision from the compact one on; leases are their TTLs and keys.
	keys   []string
	events []string
	leases []string
	hashes []uint32
}

// read returns the contents up to revision, or up to the current one if that is 0.
func read(t *testing.T, client *clientv3.Client, revision int64) *contents {
	t.Helper()
	all := must[*clientv3.GetResponse](t)(client.Get(t.Context(), "\x00", clientv3.WithFromKey()))
	s := &contents{revision: revision, compacted: compacted(t, client)}
	if revision == 0 {
		s.revision = all.Header.Revision
	}
	for at := max(s.compacted, 1); at <= s.revision; at++ {
		r := must[*clientv3.GetResponse](t)(client.Get(t.Context(), "\x00", clientv3.WithFromKey(),
			clientv3.WithRev(at)))
		s.keys = append(s.keys, fmt.Sprint(at, texts(r.Kvs)))
	}
	s.events = events(t, client, s.compacted+1, s.revision)
	// At the compact revision an etcd answers with the hash that it computed during the compaction, of its content
	// before.
	for _, at := range []int64{s.revision, (s.revision + max(s.compacted, 1)) / 2, min(s.compacted+1, s.revision)} {
		s.hashes = append(s.hashes,
			must[*clientv3.HashKVResponse](t)(client.HashKV(t.Context(), client.Endpoints()[0], at)).Hash)
	}
	return s
}

func texts(kvs []*mvccpb.KeyValue) (all []string) {
	for _, kv := range kvs {
		all = append(all,
			fmt.Sprintf("%q=%q/%d/%d/%d/%x", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease))
	}
	return all
}

// compacted returns the compact revision, 0 if there is none.
func compacted(t *testing.T, client *clientv3.Client) int64 {
	t.Helper()
	return max(0,
		must[*clientv3.HashKVResponse](t)(client.HashKV(t.Context(), client.Endpoints()[0], 0)).CompactRevision)
}

// events returns the events between two revisions, as a watch shows them.
func events(t *testing.T, client *clientv3.Client, from, to int64) (all []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if from > to {
		return nil
	}
	for resp := range client.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(from), clientv3.WithPrevKV()) {
		if err := resp.Err(); err != nil {
			t.Fatalf("watch from %d: %v", from, err)
		}
		for _, e := range resp.Events {
			prev := ""
			if e.PrevKv != nil {
				prev = texts([]*mvccpb.KeyValue{e.PrevKv})[0]
			}
			if e.Kv.ModRevision <= to {
				all = append(all, fmt.Sprint(e.Type, texts([]*mvccpb.KeyValue{e.Kv}), prev))
			}
			if e.Kv.ModRevision >= to && e == resp.Events[len(resp.Events)-1] {
				return all
			}
		}
	}
	t.Fatalf("the watch from %d did not reach %d", from, to)
	return nil
}

// leases describes the leases without their remaining time.
func leases(t *testing.T, client *clientv3.Client) (all []string) {
	t.Helper()
	for _, l := range must[*clientv3.LeaseLeasesResponse](t)(client.Leases(t.Context())).Leases {
		r := must[*clientv3.LeaseTimeToLiveResponse](t)(client.TimeToLive(t.Context(), l.ID,
			clientv3.WithAttachedKeys()))
		if r.TTL <= 0 || r.TTL > r.GrantedTTL {
			t.Errorf("lease %x of %d s lasts %d s", l.ID, r.GrantedTTL, r.TTL)
		}
		held := fmt.Sprintf("%q", r.Keys)
		if len(r.Keys) > 1 { // in no order
			slices.SortFunc(r.Keys, func(a, b []byte) int { return strings.Compare(string(a), string(b)) })
			held = fmt.Sprintf("%q", r.Keys)
		}
		all = append(all, fmt.Sprintf("%x of %d s %s", l.ID, r.GrantedTTL, held))
	}
	slices.Sort(all)
	return all
}

// users describes users and roles.
func users(t *testing.T, client *clientv3.Client) (all []string) {
	t.Helper()
	ctx := t.Context()
	for _, name := range must[*clientv3.AuthUserListResponse](t)(client.UserList(ctx)).Users {
		all = append(all,
			fmt.Sprint("user ", name, must[*clientv3.AuthUserGetResponse](t)(client.UserGet(ctx, name)).Roles))
	}
	for _, name := range must[*clientv3.AuthRoleListResponse](t)(client.RoleList(ctx)).Roles {
		r := (*pb.AuthRoleGetResponse)(must[*clientv3.AuthRoleGetResponse](t)(client.RoleGet(ctx, name)))
		all = append(all, fmt.Sprint("role ", name, r.Perm))
	}
	status := must[*clientv3.AuthStatusResponse](t)(client.AuthStatus(ctx))
	return append(all, fmt.Sprint("enabled ", status.Enabled, " revision ", status.AuthRevision))
}

// same fails the test if a copy differs from its source.
func same(t *testing.T, got, want *contents) {
	t.Helper()
	if got.revision != want.revision || got.compacted != want.compacted {
		t.Errorf("revision %d and compact revision %d, want %d and %d", got.revision, got.compacted, want.revision,
			want.compacted)
	}
	equal(t, "keys", got.keys, want.keys)
	equal(t, "events", got.events, want.events)
	equal(t, "leases", got.leases, want.leases)
	if !slices.Equal(got.hashes, want.hashes) {
		t.Errorf("HashKV %d, want %d", got.hashes, want.hashes)
	}
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("%s: %d of them, want %d; missing is %s", what, len(got), len(want), want[i])
			return
		case i >= len(want):
			t.Errorf("%s: %d of them, want %d; too much is %s", what, len(got), len(want), got[i])
			return
		case got[i] != want[i]:
			t.Errorf("%s differ:\n%s\nwant\n%s", what, got[i], want[i])
			return
		}
	}
}
