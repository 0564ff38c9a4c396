package etcdsuite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The files of etcd's tests that launch members.
const (
	integration = "framework/integration/cluster.go"
	e2e         = "framework/e2e/etcd_process.go"
)

// launch is the body of Member.Launch.
const launch = `
	m.Closed = true // There are no files of etcd to verify.
	listeners := []io.Closer{m.GRPCListener}
	for _, l := range append(m.PeerListeners, m.ClientListeners...) {
		listeners = append(listeners, l)
	}
	if len(m.config.GRPCAdditionalServerOptions) > 0 {
		return errors.New("a process takes no options of gRPC's server")
	}
	network, host, port := m.grpcAddr()
	address := host + ":" + port
	if network == "tcp" {
		address = net.JoinHostPort(host, m.Port)
	}
	server, err := member.Launch(member.Config{
		ServerConfig:      m.ServerConfig,
		URL:               m.clientScheme() + "://" + address,
		ClientTLS:         m.ClientTLSInfo,
		KeepAliveMinTime:  m.config.GRPCKeepAliveMinTime,
		KeepAliveInterval: m.config.GRPCKeepAliveInterval,
		KeepAliveTimeout:  m.config.GRPCKeepAliveTimeout,
	}, listeners...)
	if err != nil {
		return err
	}
	m.Server = server
	if m.Client == nil {
		m.Client, err = NewClientV3(m)
	}
	return err
`

// A replacement is of a text that occurs once.
type replacement struct{ old, new string }

// replacements are the other changes of the file integration.
var replacements = []replacement{
	{"import (\n", "import (\n\t\"errors\"\n\n\t\"github.com/stele-db/stele/test/etcdsuite/member\"\n"},
	{"type Member struct {\n", "type Member struct {\n\tconfig MemberConfig\n"},
	{"m := &Member{\n\t\tMemberNumber", "m := &Member{\n\t\tconfig: mcfg,\n\t\tMemberNumber"},
	{"*etcdserver.EtcdServer\n", "*member.Server\n"},
	// etcd's command line takes no URL with a port that is not a number.
	{"port = m.Name\n", "port = fmt.Sprint(10000 + m.UniqNumber)\n"},
	{
		"Metric(metricName string, expectLabels ...string) (string, error) {\n",
		"Metric(metricName string, expectLabels ...string) (string, error) {\n\tmetricName = " +
			"member.Metric(metricName)\n",
	},
	{"if isMembersEqual(resp.Members, membs) {", "if m.Server.Matches(resp.Members, membs) {"},
}

// unused are the imports that only the replaced body needs.
var unused = []string{
	"crypto/tls", "log", "net/http/httptest", "github.com/soheilhy/cmux", "go.etcd.io/etcd/client/pkg/v3/tlsutil",
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp", "go.etcd.io/etcd/server/v3/etcdserver/api/v3client",
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election", "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock",
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc",
}

// ready adds the line that Stele logs when it serves.
var ready = replacement{`"ready to serve client requests"`, `"ready to serve client requests", "serving clients"`}

// patch changes the copy of etcd's tests in dir so that members are processes.
func patch(dir string) error {
	changes := slices.Clone(replacements)
	for _, name := range unused {
		changes = append(changes, replacement{"\t\"" + name + "\"\n", "\t_ \"" + name + "\"\n"})
	}
	return errors.Join(
		change(filepath.Join(dir, integration), replaceLaunch, replaceAll(changes...)),
		change(filepath.Join(dir, e2e), replaceAll(ready)),
	)
}

// change applies functions to the text of a file.
func change(path string, functions ...func(string) (string, error)) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(source)
	for _, f := range functions {
		if text, err = f(text); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

func replaceAll(changes ...replacement) func(string) (string, error) {
	return func(text string) (string, error) {
		for _, c := range changes {
			if n := strings.Count(text, c.old); n != 1 {
				return "", fmt.Errorf("%q occurs %d times", c.old, n)
			}
			text = strings.Replace(text, c.old, c.new, 1)
		}
		return text, nil
	}
}

// replaceLaunch replaces the body of Member.Launch.
func replaceLaunch(text string) (string, error) {
	const signature = "func (m *Member) Launch() error {"
	before, after, found := strings.Cut(text, signature)
	_, after, closed := strings.Cut(after, "\n}\n")
	if !found || !closed {
		return "", fmt.Errorf("%q is missing", signature)
	}
	return before + signature + launch + "}\n" + after, nil
}
