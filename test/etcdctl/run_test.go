package etcdctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/test/internal/target"
)

const commandTimeout = 60 * time.Second

// TestSession compares etcdctl's output and exit code.
func TestSession(t *testing.T) {
	t.Parallel()
	etcdctl := tool(t, "etcdctl")
	reference := newTerminal(t, target.Reference(t))
	var subject *terminal
	if target.SubjectIsEtcd() {
		subject = newTerminal(t, target.Subject(t))
	} else {
		subject = newTerminal(t, target.Stele(t, "--lease-mode=etcd", cheapPasswords))
	}
	reference.AwaitStorageVersion(t)
	for _, c := range session {
		t.Run(c.args, func(t *testing.T) {
			want, got := c.run(t, etcdctl, reference), c.run(t, etcdctl, subject)
			if want != got {
				t.Errorf("etcdctl %s\nwith etcd:\n%s\nwith stele:\n%s", c.args, want, got)
			}
			if testing.Verbose() {
				t.Logf("etcdctl %s\n%s", c.args, got)
			}
		})
	}
}

// terminal is the state of a session on one server.
type terminal struct {
	*target.Target
	dir string
	// lease is the ID of the newest lease.
	lease string
}

func newTerminal(t *testing.T, server *target.Target) *terminal {
	t.Helper()
	return &terminal{Target: server, dir: t.TempDir()}
}

// fill replaces placeholders by values of earlier output.
func (s *terminal) fill(ctx context.Context, t *testing.T, args string) []string {
	t.Helper()
	fields := strings.Fields(args)
	for i, a := range fields {
		a = strings.ReplaceAll(a, "''", "")
		a = strings.ReplaceAll(a, "LEASE", s.lease)
		a = strings.ReplaceAll(a, "SNAPSHOT", filepath.Join(s.dir, "snapshot"))
		if a == "MEMBER" {
			status, err := s.Maintenance.Status(ctx, &pb.StatusRequest{})
			if err != nil {
				t.Fatal(err)
			}
			a = strconv.FormatUint(status.Leader, 16)
		}
		fields[i] = a
	}
	return fields
}

var grantedLease = regexp.MustCompile(`lease ([0-9a-f]{16}) granted`)

// run returns the output and the exit code, without parts that may differ.
func (c command) run(t *testing.T, etcdctl string, server *terminal) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	if c.alarm != pb.AlarmType_NONE {
		status, err := server.Maintenance.Status(ctx, &pb.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		raise := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: c.alarm, MemberID: status.Leader}
		if _, err := server.Maintenance.Alarm(ctx, raise); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(ctx, etcdctl, server.fill(ctx, t, c.args)...)
	cmd.Env = append(os.Environ(), "ETCDCTL_ENDPOINTS="+c.endpoints(server))
	if err := server.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = strings.NewReader(c.stdin)
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	if c.lines > 0 {
		cmd.Stdout = nil
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := copyLines(&out, pipe, c.lines); err != nil {
			t.Errorf("%s: %s: %v after %q", server.Name, c.args, err, out.String())
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return plain(out.String(), server)
	}
	err := cmd.Run()
	if granted := grantedLease.FindStringSubmatch(out.String()); granted != nil {
		server.lease = granted[1]
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", c.args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s: %s does not end: %s%s", server.Name, c.args, out.String(), failure.String())
	}
	return fmt.Sprintf("%sexit code %d\n%s", plain(out.String(), server), cmd.ProcessState.ExitCode(),
		plain(failure.String(), server))
}

// endpoints returns all replicas, or one if the command prints one answer per endpoint.
func (c command) endpoints(server *terminal) string {
	for _, each := range []string{"endpoint", "defrag", "snapshot", "move-leader"} {
		if strings.HasPrefix(c.args, each) {
			return server.Address
		}
	}
	return strings.Join(server.Addresses, ",")
}

func copyLines(to io.Writer, from io.Reader, lines int) error {
	one := make([]byte, 1)
	for lines > 0 {
		if _, err := from.Read(one); err != nil {
			return err
		}
		if one[0] == '\n' {
			lines--
		}
		if _, err := to.Write(one); err != nil {
			return err
		}
	}
	return nil
}

// plain replaces the server's identities, sizes and times.
func plain(text string, server *terminal) string {
	text = strings.ReplaceAll(text, server.dir, "DIR")
	for _, address := range server.Addresses {
		text = strings.ReplaceAll(text, address, "ADDRESS")
	}
	for _, r := range replacements {
		text = r.pattern.ReplaceAllString(text, r.by)
	}
	// Each replica is a member, and all have the same name here.
	const member = "MEMBER, started, default, PEER, http://ADDRESS, false\n"
	return strings.Replace(text, strings.Repeat(member, server.Members()), member, 1)
}

// replacements remove the differences between the servers. Two of them are deliberate: Stele has no quota, so that
// Status has no dbSizeQuota, and no peers, so that its member has no peer URL.
var replacements = []struct {
	pattern *regexp.Regexp
	by      string
}{
	// The client's own log.
	{regexp.MustCompile(`(?m)^{"level":.*\n`), ""},
	{regexp.MustCompile(`"dbSizeQuota":\d+,`), ""},
	{regexp.MustCompile(`"(cluster_id|member_id|raft_term|leader|raftIndex|raftTerm|raftAppliedIndex|` +
		`dbSize|dbSizeInUse)":\d+`), `"$1":N`},
	{regexp.MustCompile(`"(ClusterID|MemberID|RaftTerm|ID)" : \d+`), `"$1" : N`},
	{regexp.MustCompile(`"(version|storageVersion)":"3\.[67]\.\d+"`), `"$1":"VERSION"`},
	{regexp.MustCompile(`\btook[:=]? ?=? ?[0-9.]+[mµn]?s`), `took TIME`},
	{regexp.MustCompile(`took":"[^"]*"`), `took":"TIME"`},
	// endpoint status: member ID, versions, sizes, term and indexes.
	{regexp.MustCompile(`[0-9a-f]{12,16}, 3\.[67]\.\d+, 3\.[67]\.0, .*?B, .*?B, \d+%, .*?B, ` +
		`true, false, \d+, \d+, \d+,`), `MEMBER, VERSION, SIZE, true, false, RAFT,`},
	// member list: member ID and peer URL.
	{regexp.MustCompile(`[0-9a-f]{12,16}, started, default, (http://127\.0\.0\.1:\d+)?, `),
		`MEMBER, started, default, PEER, `},
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), `ID`},
	{regexp.MustCompile(`\b(mutex|election)/[0-9a-f]{13,16}\b`), `$1/ID`},
	{regexp.MustCompile(`"Lease" : \d+`), `"Lease" : N`},
	{regexp.MustCompile(`remaining\(\d+s\)`), `remaining(TIME)`},
	// endpoint status in fields.
	{regexp.MustCompile(`"(DBSize|DBSizeInUse|DBSizeQuota|Leader|RaftIndex|RaftAppliedIndex)" : \d+`), `"$1" : N`},
	// The text form of a message has two kinds of white space.
	{regexp.MustCompile(`memberID:\d+ +alarm:`), `memberID:N alarm:`},
	{regexp.MustCompile(`Leadership transferred from \w+ to \w+`), `Leadership transferred from ID to ID`},
}
