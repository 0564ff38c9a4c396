package programs

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/stele-db/stele/test/internal/port"
	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/target"
)

const (
	coreDNSPlugin  = "github.com/coredns/coredns/plugin/etcd"
	coreDNSAddress = `"http://localhost:2379"`
)

// TestCoreDNSPlugin runs the tests of CoreDNS' plugin etcd, which expect a server at localhost:2379. It omits those
// without Lookup in their names: they use no server, or only one at that address.
func TestCoreDNSPlugin(t *testing.T) {
	long(t)
	source := strings.TrimSpace(output(t, "coredns", "go", "list", "-f", "{{.Dir}}", coreDNSPlugin))
	binary := testBinary(t, "coredns", "./plugin", "-vet=off", "-tags=etcd", "-overlay="+pluginOverlay(t, source))
	sameTranscripts(t, []string{modeEtcd, modeTTL}, func(t *testing.T, server *target.Target) string {
		return goTest(t, binary, "Lookup", "http://"+server.Address)
	})
}

// pluginOverlay returns an overlay for go build, in which the directory coredns/plugin is the plugin, and its tests
// take the server's address from STELE_TEST_ADDRESS. An overlay cannot replace files of the module cache.
func pluginOverlay(t *testing.T, source string) string {
	t.Helper()
	dir, err := filepath.Abs("coredns/plugin")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for _, file := range files {
		replace[filepath.Join(dir, filepath.Base(file))] = file
	}
	lookup := filepath.Join(source, "lookup_test.go")
	text, err := os.ReadFile(lookup)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), coreDNSAddress, `os.Getenv("STELE_TEST_ADDRESS")`, 1)
	if changed == string(text) {
		t.Fatalf("%s does not contain %s", lookup, coreDNSAddress)
	}
	changed = strings.Replace(changed, `import (`, "import (\n\t\"os\"", 1)
	replace[filepath.Join(dir, "lookup_test.go")] = written(t, "lookup_test.go", []byte(changed))
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	return written(t, "overlay.json", overlay)
}

// written writes a temporary file and returns its path.
func written(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCoreDNS queries a CoreDNS while records are put, expire and are deleted, and after a restart of the server.
func TestCoreDNS(t *testing.T) {
	long(t)
	program := process.Program{Name: "coredns", Package: ".", Dir: "programs/coredns"}.Binary(t, t.TempDir())
	sameTranscripts(t, []string{modeEtcd, modeTTL}, func(t *testing.T, server *target.Target) string {
		dns := startCoreDNS(t, program, server.Address)
		client := server.Client(t)
		put := func(key, record string, opts ...clientv3.OpOption) {
			t.Helper()
			if _, err := client.Put(t.Context(), "/skydns/test/skydns/"+key, record, opts...); err != nil {
				t.Fatal(err)
			}
		}
		var transcript strings.Builder
		show := func(name string, kind dnsmessage.Type) {
			fmt.Fprintln(&transcript, name, kind, dns.ask(t, name, kind))
		}
		put("web/one", `{"host": "10.0.0.1", "port": 80, "ttl": 60}`)
		put("web/two", `{"host": "10.0.0.2", "port": 81, "priority": 20}`)
		put("text", `{"text": "hello", "ttl": 5}`)
		put("alias", `{"host": "web.skydns.test", "ttl": 30}`)
		for _, name := range []string{"web", "one.web", "*.web", "two.*", "alias", "none"} {
			show(name, dnsmessage.TypeA)
		}
		show("web", dnsmessage.TypeSRV)
		show("text", dnsmessage.TypeTXT)
		if _, err := client.Delete(t.Context(), "/skydns/test/skydns/web/one"); err != nil {
			t.Fatal(err)
		}
		show("web", dnsmessage.TypeA)
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		dns.until(t, "web", func(answer string) bool { return strings.Contains(answer, "10.0.0.2") })
		show("web", dnsmessage.TypeA)

		lease, err := client.Grant(t.Context(), 3)
		if err != nil {
			t.Fatal(err)
		}
		put("short", `{"host": "10.0.0.3"}`, clientv3.WithLease(lease.ID))
		dns.until(t, "short", func(answer string) bool { return strings.Contains(answer, "10.0.0.3") })
		dns.until(t, "short", func(answer string) bool { return strings.Contains(answer, "NameError") })
		return transcript.String()
	})
}

// coreDNS is a CoreDNS that serves skydns.test.
type coreDNS struct{ address string }

// startCoreDNS starts a CoreDNS on the records of an etcd. It ends with the test.
func startCoreDNS(t *testing.T, program, etcd string) coreDNS {
	t.Helper()
	dns := coreDNS{port.Free(t)}
	host, number, _ := net.SplitHostPort(dns.address)
	text := fmt.Sprintf("skydns.test:%s {\n bind %s\n etcd {\n  path /skydns\n  endpoint http://%s\n }\n}\n",
		number, host, etcd)
	config := written(t, "Corefile", []byte(text))
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "-conf", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	dns.until(t, "none", func(string) bool { return true })
	return dns
}

// until queries the addresses of a name until wanted accepts the answer.
func (d coreDNS) until(t *testing.T, name string, wanted func(answer string) bool) {
	t.Helper()
	var answer string
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if answer, err = d.query(t.Context(), name, dnsmessage.TypeA); err == nil && wanted(answer) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("the answer for %s is %s (%v) after a minute", name, answer, err)
}

// ask returns the answer for a name below skydns.test.
func (d coreDNS) ask(t *testing.T, name string, kind dnsmessage.Type) string {
	t.Helper()
	answer, err := d.query(t.Context(), name, kind)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func (d coreDNS) query(ctx context.Context, name string, kind dnsmessage.Type) (string, error) {
	qname, err := dnsmessage.NewName(name + ".skydns.test.")
	if err != nil {
		return "", err
	}
	question := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 1, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: qname, Type: kind, Class: dnsmessage.ClassINET}},
	}
	packet, err := question.Pack()
	if err != nil {
		return "", err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", d.address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write(packet); err != nil {
		return "", err
	}
	buffer := make([]byte, 4096)
	n, err := conn.Read(buffer)
	if err != nil {
		return "", err
	}
	var m dnsmessage.Message
	if err := m.Unpack(buffer[:n]); err != nil {
		return "", err
	}
	var records []string
	for _, r := range m.Answers {
		data := r.Body.GoString()
		if a, ok := r.Body.(*dnsmessage.AResource); ok {
			data = netip.AddrFrom4(a.A).String()
		}
		records = append(records, fmt.Sprintf("%s %d %s", r.Header.Name, r.Header.TTL, data))
	}
	slices.Sort(records)
	return fmt.Sprintf("%v %q", m.RCode, records), nil
}
