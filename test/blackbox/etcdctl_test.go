package blackbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/target"
)

const commandTimeout = 60 * time.Second

// command is one call of etcdctl.
type command struct {
	args  string
	stdin string
	// background calls go on until they have printed lines lines.
	lines int
}

// session is what a person might type. Both servers begin empty, so that revisions are the same.
var session = []command{
	{args: "put foo bar"},
	{args: "put foo baz --prev-kv"},
	{args: "put foo1 value-one"},
	{args: "put foo2 value-two"},
	{args: "put empty ''"},
	{args: "get foo"},
	{args: "get foo --rev=2"},
	{args: "get foo --rev=99"},
	{args: "get foo --prefix"},
	{args: "get foo --prefix --keys-only"},
	{args: "get foo --prefix --count-only --write-out=fields"},
	{args: "get foo --prefix --print-value-only"},
	{args: "get foo --prefix --sort-by=VALUE --order=DESCEND --limit=2"},
	{args: "get foo --from-key"},
	{args: "get foo foo2"},
	{args: "get missing"},
	{args: "get foo --write-out=json"},
	{args: "get foo --prefix --write-out=json"},
	{args: "get foo --hex"},
	{args: "txn", stdin: "value(\"foo\") = \"baz\"\nversion(\"foo1\") > \"0\"\n\nput foo txn-success\nget foo\ndel foo2 --prev-kv\n\nput foo txn-failure\n\n"},
	{args: "txn", stdin: "mod(\"foo\") < \"1\"\n\nput foo txn-success\n\nget foo1 --prefix\n\n"},
	{args: "txn --write-out=json", stdin: "create(\"new\") = \"0\"\n\nput new 1\n\n\n"},
	{args: "del foo1 --prev-kv"},
	{args: "del missing"},
	{args: "put foo --lease=7fffffffffffffff", stdin: "x"},
	{args: "put foo --ignore-value"},
	{args: "put missing --ignore-value"},
	{args: "watch foo --prefix --rev=2", lines: 24},
	{args: "watch foo --prefix --rev=2 --prev-kv --write-out=json", lines: 1},
	{args: "watch --rev=1 foo foo2", lines: 15},
	{args: "endpoint hashkv"},
	{args: "endpoint hashkv --rev=5 --write-out=json"},
	{args: "compaction 4"},
	{args: "compaction 4"},
	{args: "compaction 99"},
	{args: "compaction 6 --physical"},
	{args: "get foo --rev=3"},
	{args: "watch foo --rev=3"},
	{args: "endpoint health"},
	{args: "endpoint health --write-out=json"},
	{args: "endpoint status --write-out=json"},
	{args: "endpoint status"},
	{args: "endpoint hashkv"},
	{args: "defrag"},
	{args: "member list"},
	{args: "lease grant 60"},
	{args: "lease grant 9000000001"},
	{args: "alarm list"},
	{args: "auth status"},
	{args: "del --prefix ''"},
	{args: "get --prefix ''"},
}

// TestEtcdctl compares what etcdctl prints and its exit code.
func TestEtcdctl(t *testing.T) {
	etcdctl := process.Program{Name: "etcdctl", Package: "go.etcd.io/etcd/etcdctl/v3", Dir: "."}.Binary(t, t.TempDir())
	reference, subject := target.Reference(t), target.Subject(t)
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

// run returns the output and the exit code, without what may differ.
func (c command) run(t *testing.T, etcdctl string, server *target.Target) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	args := strings.Fields(c.args)
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "''", "")
	}
	cmd := exec.CommandContext(ctx, etcdctl, args...)
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
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", c.args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s: %s does not end: %s%s", server.Name, c.args, out.String(), failure.String())
	}
	return fmt.Sprintf("%sexit code %d\n%s", plain(out.String(), server), cmd.ProcessState.ExitCode(), plain(failure.String(), server))
}

// endpoints are all replicas, but for what answers once for each endpoint.
func (c command) endpoints(server *target.Target) string {
	for _, each := range []string{"endpoint", "defrag"} {
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
func plain(text string, server *target.Target) string {
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

// replacements make two servers look alike. What they hide besides is deliberate: Stele has no quota, so that Status has no
// dbSizeQuota, and no peers, so that its member has no peer URL.
var replacements = []struct {
	pattern *regexp.Regexp
	by      string
}{
	// The client's own log.
	{regexp.MustCompile(`(?m)^{"level":.*\n`), ""},
	{regexp.MustCompile(`"dbSizeQuota":\d+,`), ""},
	{regexp.MustCompile(`"(cluster_id|member_id|raft_term|leader|raftIndex|raftTerm|raftAppliedIndex|dbSize|dbSizeInUse)":\d+`), `"$1":N`},
	{regexp.MustCompile(`"(ClusterID|MemberID|RaftTerm|ID)" : \d+`), `"$1" : N`},
	{regexp.MustCompile(`"(version|storageVersion)":"3\.[67]\.\d+"`), `"$1":"VERSION"`},
	{regexp.MustCompile(`\btook[:=]? ?=? ?[0-9.]+[mµn]?s`), `took TIME`},
	{regexp.MustCompile(`took":"[^"]*"`), `took":"TIME"`},
	// endpoint status: member ID, versions, sizes, term and indexes.
	{regexp.MustCompile(`[0-9a-f]{12,16}, 3\.[67]\.\d+, 3\.[67]\.0, .*?B, .*?B, \d+%, .*?B, true, false, \d+, \d+, \d+,`), `MEMBER, VERSION, SIZE, true, false, RAFT,`},
	// member list: member ID and peer URL.
	{regexp.MustCompile(`[0-9a-f]{12,16}, started, default, (http://127\.0\.0\.1:\d+)?, `), `MEMBER, started, default, PEER, `},
	{regexp.MustCompile(`lease [0-9a-f]{16} granted`), `lease ID granted`},
}
