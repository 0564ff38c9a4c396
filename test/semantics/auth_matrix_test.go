package semantics

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/test/internal/target"
)

// senders are the columns of the matrix. Users authenticate with a token.
var senders = []string{"none", "bad", "roleless", "reader", "writer", "both", "root"}

// cell is one request of one sender to one server.
type cell struct {
	*target.Target
	t      testing.TB
	sender string
	// ctx is the sender's context, root is root's.
	ctx, root context.Context //nolint:containedctx // a cell is the arguments of a row
	// pub is the lease of a key on which reader, writer and both have permissions; sec is that of a key of root alone.
	pub, sec int64
}

// row is a line of the matrix. All senders can make its request, one after the other.
type row struct {
	name string
	do   func(c *cell) error
	// permission compares only whether the request is permitted: the servers differ in their other errors.
	permission bool
	// message compares only the message: etcd's own client, which its Lock and Election services use, drops the code.
	message bool
}

// TestAuthMatrix makes every request as every sender and compares the permissions. -v prints the matrix.
func TestAuthMatrix(t *testing.T) {
	t.Parallel()
	reference, subject := bothWithLeases(t, cheapPasswords)
	answers := make([]map[string]string, 2)
	var group errgroup.Group
	for i, s := range []*target.Target{reference, subject} {
		group.Go(func() error {
			answers[i] = matrixOf(t, s)
			return nil
		})
	}
	_ = group.Wait()
	if t.Failed() {
		return
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%-38s%s\n", "", fmt.Sprintf(strings.Repeat("%-10s", len(senders)), anys(senders)...))
	same, total := 0, 0
	for _, r := range slices.Concat(matrixRows...) {
		fmt.Fprintf(&table, "%-38s", r.name)
		for _, sender := range senders {
			at := r.name + " as " + sender
			want, got := answers[0][at], answers[1][at]
			total++
			if want == got {
				same++
				fmt.Fprintf(&table, "%-10s", short(got))
				continue
			}
			fmt.Fprintf(&table, "%-10s", short(got)+"!="+short(want))
			t.Errorf("%s: %s answers %q, etcd %q", at, subject.Name, got, want)
		}
		table.WriteByte('\n')
	}
	t.Logf("permissions: %d of %d as in etcd\n%s\n%s", same, total, table.String(), legend)
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

const legend = "+ yes, - permission denied, 0 user name is empty, T invalid auth token, " +
	"E another error (the same as etcd's)"

// short abbreviates an answer to one character.
func short(answer string) string {
	switch {
	case answer == "ok":
		return "+"
	case strings.Contains(answer, "permission denied"):
		return "-"
	case strings.Contains(answer, "user name is empty"):
		return "0"
	case strings.Contains(answer, "invalid auth token"):
		return "T"
	}
	return "E"
}

// matrixOf returns the answers of one server.
func matrixOf(t testing.TB, s *target.Target) map[string]string {
	ctx, cancel := context.WithTimeout(t.Context(), ruleTimeout)
	defer cancel()
	m := setUp(ctx, t, s)
	put := func(key string, lease int64) {
		_, err := s.KV.Put(ctx, &pb.PutRequest{Key: []byte(key), Value: []byte("v"), Lease: lease})
		m.must(err)
	}
	m.role("reader", "pub/", authpb.Permission_READ)
	m.role("writer", "pub/", authpb.Permission_WRITE)
	m.user("roleless")
	m.user("reader", "reader")
	m.user("writer", "writer")
	m.user("both", "reader", "writer")
	m.user("root", "root")
	_, err := m.auth.UserAdd(ctx, &pb.AuthUserAddRequest{
		Name: "certain", Options: &authpb.UserAddOptions{NoPassword: true},
	})
	m.must(err)
	var leases []int64
	for _, key := range []string{"pub/leased", "sec/leased"} {
		l, err := s.Lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 1000})
		m.must(err)
		leases = append(leases, l.ID)
		put(key, l.ID)
	}
	put("pub/a", 0)
	put("sec/a", 0)
	m.enable()

	contexts := map[string]context.Context{"none": ctx, "bad": withToken(ctx, "aaaaaaaaaaaaaaaa.1")}
	for _, sender := range senders[2:] {
		contexts[sender] = as(ctx, t, s, sender)
	}
	answers := map[string]string{}
	for _, r := range slices.Concat(matrixRows...) {
		for _, sender := range senders {
			ctx, cancel := context.WithTimeout(contexts[sender], 10*time.Second)
			c := &cell{
				Target: s, t: t, sender: sender, ctx: ctx, root: contexts["root"], pub: leases[0], sec: leases[1],
			}
			err := r.do(c)
			cancel()
			if r.permission && !aboutAuth(err) {
				err = nil
			}
			answer := outcome(err)
			if r.message {
				_, answer, _ = strings.Cut(answer, ": ")
			}
			answers[r.name+" as "+sender] = cmp.Or(answer, "ok")
		}
	}
	return answers
}

// aboutAuth reports whether a request was refused because of its sender.
func aboutAuth(err error) bool {
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unauthenticated:
		return true
	}
	return strings.Contains(status.Convert(err).Message(), "user name is empty")
}

// unique returns a name that no other cell uses.
func (c *cell) unique(name string) string { return name + "-" + c.sender }

// must checks a call that prepares a cell.
func (c *cell) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Errorf("%s: prepare: %v", c.Name, err)
	}
}

func (c *cell) auth() pb.AuthClient { return pb.NewAuthClient(c.Conn) }

// first returns the outcome of the first answer of a stream.
func first[T any](answer T, err error, outcomeOf func(T) error) error {
	if err != nil {
		return err
	}
	return outcomeOf(answer)
}
