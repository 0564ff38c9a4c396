package programs

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/template"
	"time"

	"github.com/jackc/pgx/v5"
)

var patroniConfig = template.Must(template.New("patroni.yml").Parse(`
scope: {{.Cluster.Scope}}
name: {{.Name}}
restapi:
  listen: {{.API}}
  connect_address: {{.API}}
etcd3:
  hosts: [{{.Cluster.Hosts}}]
{{- if .Cluster.User}}
  username: {{.Cluster.User}}
  password: {{.Cluster.Password}}
  use_proxies: true
{{- end}}
bootstrap:
  dcs:
    ttl: {{.Cluster.TTL}}
    loop_wait: {{.Cluster.LoopWait}}
    retry_timeout: {{.Cluster.RetryTimeout}}
    postgresql:
      use_pg_rewind: true
  initdb:
    - encoding: UTF8
    - locale: C.UTF-8
    - auth: scram-sha-256
postgresql:
  listen: {{.SQL}}
  connect_address: {{.SQL}}
  bin_dir: {{.Cluster.Programs}}
  data_dir: {{.Dir}}/data
  pgpass: {{.Dir}}/pgpass
  authentication:
    superuser: {username: postgres, password: {{.Cluster.SQLPassword}}}
    replication: {username: replicator, password: {{.Cluster.SQLPassword}}}
    rewind: {username: rewinder, password: {{.Cluster.SQLPassword}}}
  parameters:
    unix_socket_directories: {{.Dir}}
    shared_buffers: 16MB
  pg_hba:
    - host all all 127.0.0.1/32 scram-sha-256
    - host replication replicator 127.0.0.1/32 scram-sha-256
watchdog:
  mode: "off"
`))

// patroniNode is one Patroni and its PostgreSQL.
type patroniNode struct {
	Cluster  *patroniCluster
	Name     string
	Dir      string
	API, SQL string
	run      *exec.Cmd
}

// patroniStatus is a node's answer to GET /patroni.
type patroniStatus struct {
	State, Role         string
	Timeline            int
	PostmasterStartTime string `json:"postmaster_start_time"`
	// LastSeen is the time of the server's last answer, in seconds since 1970.
	LastSeen int64 `json:"dcs_last_seen"`
	// Replication is the leader's list of its standbys.
	Replication []struct{ State string }
}

func (n *patroniNode) String() string { return n.Name }

func (n *patroniNode) config() string { return filepath.Join(n.Dir, "patroni.yml") }

func (n *patroniNode) log() string {
	text, _ := os.ReadFile(filepath.Join(n.Dir, "log"))
	return string(text)
}

// start runs the node's Patroni.
func (n *patroniNode) start() {
	t := n.Cluster.t
	t.Helper()
	config, err := os.Create(n.config())
	if err != nil {
		t.Fatal(err)
	}
	if err := patroniConfig.Execute(config, n); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(n.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	chown(t, n.config(), log.Name())
	cmd := exec.Command("patroni", n.config())
	cmd.Dir = n.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.Dir, "LC_ALL=C.UTF-8", "PYTHONUNBUFFERED=1"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: patroniAccount(t), Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = config.Close(), log.Close()
	n.run = cmd
}

// kill ends Patroni and its PostgreSQL by SIGKILL.
func (n *patroniNode) kill() {
	if n.run == nil {
		return
	}
	if out, err := exec.Command("sh", "-c", endProcesses, "sh", n.Dir).CombinedOutput(); err != nil {
		n.Cluster.t.Errorf("kill %v: %v\n%s", n, err, out)
	}
	_ = n.run.Wait()
	n.run = nil
}

// health returns the status of a health check of Patroni's REST API, or 0 if there is no answer.
func (n *patroniNode) health(path string) int {
	answer, err := n.get(path)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

func (n *patroniNode) status() (patroniStatus, error) {
	var status patroniStatus
	answer, err := n.get("/patroni")
	if err != nil {
		return status, err
	}
	defer func() { _ = answer.Body.Close() }()
	return status, json.NewDecoder(answer.Body).Decode(&status)
}

func (n *patroniNode) get(path string) (*http.Response, error) {
	client := http.Client{Timeout: 5 * time.Second}
	return client.Get("http://" + n.API + path)
}

// writable reports whether the node's PostgreSQL accepts writes. A new leader's does so a moment after Patroni has
// promoted it.
func (n *patroniNode) writable() (bool, error) {
	got, err := n.query("SELECT pg_is_in_recovery()::text")
	return got == "false", err
}

// query executes a statement and returns the first column of the first row, if there is one.
func (n *patroniNode) query(statement string) (string, error) {
	ctx, cancel := context.WithTimeout(n.Cluster.t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, "postgres://postgres:"+patroniPassword+"@"+n.SQL+"/postgres?sslmode=disable")
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, statement)
	if err != nil {
		return "", err
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(values) == 0 {
		return "", err
	}
	return values[0], nil
}
