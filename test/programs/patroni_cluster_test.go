package programs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/port"
)

// Patroni's times, in seconds. It accepts hardly shorter ones.
const (
	patroniTTL          = 20
	patroniLoopWait     = 2
	patroniRetryTimeout = 5
)

// patroniSlack is the time that a busy machine may add to Patroni's own.
const patroniSlack = 15 * time.Second

// patroniBootstrap bounds the creation of a database, which takes seconds on an idle machine.
const patroniBootstrap = 5 * time.Minute

// patroniOutage is longer than a lease lasts.
const patroniOutage = 30 * time.Second

const patroniPassword = "secret"

// endProcesses is a shell script that kills every process whose working directory is $1 or below it. That includes
// PostgreSQL, which is no child of the Patroni that starts it.
const endProcesses = `
while found=$(find /proc -mindepth 2 -maxdepth 2 -name cwd \( -lname "$1" -o -lname "$1/*" \) \
	-printf '%h\n' 2>/dev/null)
	[ -n "$found" ]
do
	for process in $found; do kill -KILL "${process#/proc/}" 2>/dev/null; done
done
true
`

// patroniCluster is a cluster of Patroni nodes.
type patroniCluster struct {
	// t is the test or its running subtest.
	t     *testing.T
	nodes []*patroniNode
	// rows is the number of acknowledged rows of the table `written`.
	rows int

	// The configuration file contains these fields.
	Scope, Hosts, User, Password string
	// Programs is the directory of PostgreSQL's programs.
	Programs                    string
	TTL, LoopWait, RetryTimeout int
	SQLPassword                 string
}

// patroniMember is one member in the output of `patronictl list`.
type patroniMember struct {
	Member, Role, State string
	Timeline            int `json:"TL"`
}

// newPatroni prepares a cluster of n nodes that stores its state on the servers at the given addresses, etcd or
// Stele. All processes of the cluster end with the test process, even if that is killed.
func newPatroni(t *testing.T, n int, addresses ...string) *patroniCluster {
	t.Helper()
	c := &patroniCluster{
		t: t, Scope: "patroni", Hosts: strings.Join(addresses, ", "),
		Programs: patroniPrograms(t), SQLPassword: patroniPassword,
		TTL: patroniTTL, LoopWait: patroniLoopWait, RetryTimeout: patroniRetryTimeout,
	}
	// PostgreSQL's user may not enter the directory of the test, and a socket's path must be short.
	root, err := os.MkdirTemp("", "stele-patroni")
	if err != nil {
		t.Fatal(err)
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		t.Fatal(err)
	}
	c.guard(root)
	for i := range n {
		node := &patroniNode{Cluster: c, Name: fmt.Sprintf("node%d", i+1), API: port.Free(t), SQL: port.Free(t)}
		node.Dir = filepath.Join(root, node.Name)
		if err := os.Mkdir(node.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		c.nodes = append(c.nodes, node)
	}
	chown(t, append(c.dirs(), root)...)
	t.Cleanup(func() {
		c.t = t
		for _, node := range c.nodes {
			node.kill()
		}
		if t.Failed() || os.Getenv("STELE_TEST_LOG") != "" {
			c.logs()
		}
	})
	return c
}

// patroniPrograms installs Patroni and PostgreSQL, and returns the directory of PostgreSQL's programs.
func patroniPrograms(t *testing.T) string {
	t.Helper()
	get := exec.CommandContext(t.Context(), "../../scripts/databases", "get", "postgres")
	if out, err := get.CombinedOutput(); err != nil {
		t.Skipf("PostgreSQL is missing: %s", out)
	}
	installed(t, "patroni", "patroni", "python3-etcd")
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		t.Skip("PostgreSQL is not in the directory of Debian's packages")
	}
	return filepath.Dir(found[len(found)-1])
}

// guard starts a process that waits for the end of the test, or of the test process. It then kills the processes of
// the cluster and removes root.
func (c *patroniCluster) guard(root string) {
	c.t.Helper()
	cmd := exec.Command("sh", "-c", "read _\n"+endProcesses+`rm -rf "$1"`, "sh", root)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	alive, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = alive.Close()
		if err := cmd.Wait(); err != nil {
			c.t.Errorf("end the processes in %s: %v", root, err)
		}
	})
}

func (c *patroniCluster) dirs() []string {
	var dirs []string
	for _, node := range c.nodes {
		dirs = append(dirs, node.Dir)
	}
	return dirs
}

// logs adds the end of each node's log to that of the test.
func (c *patroniCluster) logs() {
	for _, node := range c.nodes {
		log := strings.Split(strings.TrimSpace(node.log()), "\n")
		c.t.Logf("log of %s:\n%s", node.Name, strings.Join(log[max(0, len(log)-200):], "\n"))
	}
}

// patroniAccount returns the user that runs Patroni, because PostgreSQL refuses to run as root. It is nil if root
// does not run the test.
func patroniAccount(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if uidErr != nil || gidErr != nil {
		t.Fatalf("user %+v", u)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// chown gives files to the user that runs Patroni.
func chown(t *testing.T, paths ...string) {
	t.Helper()
	owner := patroniAccount(t)
	if owner == nil {
		return
	}
	for _, path := range paths {
		if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// bootstrap starts the first node, then the others, which copy it. It returns the leader when all replicas stream.
func (c *patroniCluster) bootstrap() *patroniNode {
	c.t.Helper()
	c.nodes[0].start()
	leader := c.awaitLeader(patroniBootstrap)
	for _, node := range c.nodes[1:] {
		node.start()
	}
	c.awaitStreaming(patroniBootstrap)
	c.sql(leader, "CREATE TABLE written (n int PRIMARY KEY)")
	return leader
}

// await waits until done returns nil.
func (c *patroniCluster) await(limit time.Duration, done func() error) {
	c.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for {
		err := done()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("after %v: %v", limit, err)
		}
	}
}

// hold calls check repeatedly for the period, and fails the test if check returns an error.
func (c *patroniCluster) hold(period time.Duration, check func() error) {
	c.t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	end := time.After(period)
	for begun := time.Now(); ; {
		if err := check(); err != nil {
			c.t.Fatalf("after %v: %v", time.Since(begun).Round(time.Second/10), err)
		}
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}

// leaders returns the nodes whose Patroni reports that it is the leader and whose PostgreSQL is writable.
func (c *patroniCluster) leaders() []*patroniNode {
	var leaders []*patroniNode
	for _, node := range c.nodes {
		if node.health("/primary") != http.StatusOK {
			continue
		}
		if writable, err := node.writable(); err == nil && writable {
			leaders = append(leaders, node)
		}
	}
	return leaders
}

// noLeader returns an error if there is a leader.
func (c *patroniCluster) noLeader() error {
	if leaders := c.leaders(); len(leaders) > 0 {
		return fmt.Errorf("the leaders are %v, want none", leaders)
	}
	return nil
}

// awaitLeader waits until one node is the leader, and returns it. The nodes in not do not count.
func (c *patroniCluster) awaitLeader(limit time.Duration, not ...*patroniNode) *patroniNode {
	c.t.Helper()
	var leader *patroniNode
	c.await(limit, func() error {
		leaders := c.leaders()
		if len(leaders) != 1 || slices.Contains(not, leaders[0]) {
			return fmt.Errorf("the leaders are %v, want one", leaders)
		}
		leader = leaders[0]
		return nil
	})
	return leader
}

// awaitStreaming waits until all nodes but the leader stream from the leader.
func (c *patroniCluster) awaitStreaming(limit time.Duration) {
	c.t.Helper()
	c.await(limit, func() error {
		leaders := c.leaders()
		if len(leaders) != 1 {
			return fmt.Errorf("the leaders are %v, want one", leaders)
		}
		status, err := leaders[0].status()
		if err != nil {
			return err
		}
		streaming := 0
		for _, standby := range status.Replication {
			if standby.State == "streaming" {
				streaming++
			}
		}
		healthy := 0
		for _, node := range c.nodes {
			if node.health("/replica") == http.StatusOK {
				healthy++
			}
		}
		if streaming != len(c.nodes)-1 || healthy != streaming {
			return fmt.Errorf("%d standbys stream and %d are healthy, want %d", streaming, healthy, len(c.nodes)-1)
		}
		return nil
	})
}

// write inserts a row on a node.
func (c *patroniCluster) write(node *patroniNode) {
	c.t.Helper()
	c.rows++
	c.sql(node, fmt.Sprintf("INSERT INTO written VALUES (%d)", c.rows))
}

// awaitRows waits until every node has all rows.
func (c *patroniCluster) awaitRows(limit time.Duration) {
	c.t.Helper()
	for _, node := range c.nodes {
		c.await(limit, func() error {
			got, err := node.query("SELECT count(*) || '/' || coalesce(max(n), 0) FROM written")
			if want := fmt.Sprintf("%d/%d", c.rows, c.rows); err != nil || got != want {
				return fmt.Errorf("rows of %v are %s (%w), want %s", node, got, err, want)
			}
			return nil
		})
	}
}

func (c *patroniCluster) sql(node *patroniNode, statement string) {
	c.t.Helper()
	if _, err := node.query(statement); err != nil {
		c.t.Fatalf("%v: %s: %v", node, statement, err)
	}
}

// ctl runs patronictl with the configuration of the first node.
func (c *patroniCluster) ctl(args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "patronictl", append([]string{"-c", c.nodes[0].config()}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("patronictl %v: %v\n%s%s", args, err, out, stderr.String())
	}
	return string(out)
}

// list returns the members that `patronictl list` prints, by name.
func (c *patroniCluster) list() map[string]patroniMember {
	c.t.Helper()
	var members []patroniMember
	out := c.ctl("list", "--format", "json")
	if err := json.Unmarshal([]byte(out), &members); err != nil {
		c.t.Fatalf("patronictl list: %v\n%s", err, out)
	}
	byName := map[string]patroniMember{}
	for _, member := range members {
		byName[member.Member] = member
	}
	return byName
}
