package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/stele-db/stele/compactor"
)

// kineCommandLine sets every flag of kine 0.17 to a value of its type that is not the default.
var kineCommandLine = []string{
	"--listen-address=tcp://127.0.0.1:0",
	"--endpoint=sqlite://./db/state.db?_journal_mode=WAL&cache=shared",
	"--ca-file=/ca.crt", "--cert-file=/db.crt", "--key-file=/db.key", "--skip-verify",
	"--log-format=json",
	"--metrics-bind-address=127.0.0.1:0",
	"--datastore-max-idle-connections=5", "--datastore-max-open-connections=10",
	"--datastore-connection-max-lifetime=1h", "--datastore-connection-max-idle-time=1m",
	"--datastore-poll-interval=500ms",
	"--slow-sql-threshold=2s", "--slow-sql-warning-threshold=10s",
	"--metrics-enable-profiling", "--metrics-ignore-tls-config",
	"--watch-progress-notify-interval=10s",
	"--emulated-etcd-version=3.5.13",
	"--compact-interval=10m", "--compact-interval-jitter=5", "--compact-timeout=10s",
	"--compact-min-retain=500", "--compact-batch-size=100", "--poll-batch-size=100",
	"--peer-bind-address=127.0.0.1:3380", "--peer-advertise-address=127.0.0.1:3380",
	"--s3-bucket=b", "--s3-folder=f", "--s3-endpoint=http://127.0.0.1:1", "--s3-region=r",
	"--s3-access-key=AKIA", "--s3-secret-key=very-secret", "--s3-session-token=sesame", "--s3-profile=p",
	"--s3-ca-bundle=/b.pem",
	"--debug",
}

// kineHonoured are the flags above that have an effect; the other ones are retired. (The TLS flags of the client port
// have their own tests.)
var kineHonoured = []string{
	"listen-address", "endpoint", "log-format", "metrics-bind-address", "datastore-poll-interval",
	"metrics-ignore-tls-config", "metrics-enable-profiling", "watch-progress-notify-interval", "compact-interval",
	"compact-interval-jitter",
	"compact-timeout", "compact-min-retain", "debug",
	"ca-file", "cert-file", "key-file", "skip-verify",
	"datastore-max-idle-connections", "datastore-max-open-connections",
	"datastore-connection-max-lifetime", "datastore-connection-max-idle-time",
}

func flagName(arg string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return name
}

func TestEveryFlagOfKineIsHonouredOrRetired(t *testing.T) {
	for _, dashes := range []string{"-", "--"} {
		cfg := &config{}
		flags := cfg.flags()
		var args []string
		for _, arg := range kineCommandLine {
			args = append(args, dashes+strings.TrimLeft(arg, "-"))
		}
		if err := flags.Parse(doubleDashes(newCommand(), args)); err != nil {
			t.Fatalf("with %s: %v", dashes, err)
		}
		for _, arg := range kineCommandLine {
			name := flagName(arg)
			isRetired := marked(flags.Lookup(name), retiredFlag)
			if honoured := slices.Contains(kineHonoured, name); honoured == isRetired {
				t.Errorf("--%s: honoured %v, retired %v", name, honoured, isRetired)
			}
			if !flags.Changed(name) {
				t.Errorf("%s%s was not understood", dashes, name)
			}
			if !marked(flags.Lookup(name), kineFlag) {
				t.Errorf("--%s has no KINE_ variable", name)
			}
		}
		if err := cfg.check(); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryFlagTakesOneDash(t *testing.T) {
	root := newCommand()
	for _, cmd := range append(root.Commands(), root) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			got := doubleDashes(newCommand(),
				[]string{cmd.Name(), "-" + f.Name, "-" + f.Name + "=value", "--" + f.Name})
			want := []string{cmd.Name(), "--" + f.Name, "--" + f.Name + "=value", "--" + f.Name}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	args := []string{"-h", "-unknown", "-", "--", "-from"}
	if got := doubleDashes(root, args); !slices.Equal(got, args) {
		t.Errorf("got %q, want %q", got, args)
	}
}

func TestEnvironmentPrecedence(t *testing.T) {
	env := map[string]string{
		"STELE_NAME":                  "from-stele",
		"KINE_NAME":                   "kine has no such flag",
		"STELE_LOG_FORMAT":            "json",
		"KINE_LOG_FORMAT":             "plain",
		"KINE_COMPACT_INTERVAL":       "7m",
		"STELE_COMPACT_INTERVAL":      "",
		"KINE_COMPACT_MIN_RETAIN":     "7",
		"STELE_COMPACT_TIMEOUT":       "8s",
		"STELE_DEBUG":                 "true",
		"KINE_SLOW_SQL_THRESHOLD":     "3s",
		"STELE_REQUEST_TIMEOUT":       "1s",
		"STELE_ADVERTISE_CLIENT_URLS": "http://a:1,http://b:2",
	}
	cfg := &config{}
	flags := cfg.flags()
	if err := flags.Parse([]string{"--compact-min-retain=9"}); err != nil {
		t.Fatal(err)
	}
	var environ []string
	for name, value := range env {
		environ = append(environ, name+"="+value)
	}
	if err := applyEnvironment(newCommand(), flags, environ); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"name":                  "from-stele",
		"log-format":            "json",
		"compact-interval":      "7m0s",
		"compact-min-retain":    "9",
		"compact-timeout":       "8s",
		"debug":                 "true",
		"request-timeout":       "1s",
		"advertise-client-urls": "[http://a:1,http://b:2]",
		"endpoint":              "",
	} {
		if got := flags.Lookup(flag).Value.String(); got != want {
			t.Errorf("--%s is %q, want %q", flag, got, want)
		}
	}
	if !flags.Changed("slow-sql-threshold") {
		t.Error("a retired flag's variable would go unnoticed")
	}
}

func TestUnknownVariables(t *testing.T) {
	for name, unknown := range map[string]bool{
		"STELE_LISTEN_ADDR":         true,
		"STELE_":                    true,
		"STELE_PASSWORD":            true,
		"STELE_LISTEN_ADDRESS":      false,
		"STELE_DATASTORE_PASSWORD":  false,
		"STELE_SOURCE_PASSWORD":     false,
		"STELE_BUMP_REVISION":       false, // a flag of another command
		"STELE_S3_BUCKET":           false, // retired
		"STELE_TEST_DATABASE":       false,
		"STELE_SERVICE_HOST":        false, // of a Kubernetes service named stele
		"STELE_SERVICE_PORT_CLIENT": false,
		"STELE_PORT":                false,
		"STELE_PORT_2379_TCP_ADDR":  false,
		"STELE_DB_SERVICE_HOST":     false, // of a Kubernetes service named stele-db
		"KINE_NO_SUCH_FLAG":         false,
	} {
		err := checkVariables(newCommand(), map[string]string{name: "x"})
		if (err != nil) != unknown {
			t.Errorf("%s: %v, want an error: %v", name, err, unknown)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, test := range []struct {
		text  string
		bytes int64 // -1 is an error
		shown string
	}{
		{"0", 0, "0"},
		{"1572864", 1572864, "1536KiB"},
		{"1.5MiB", 1572864, "1536KiB"},
		{"512MiB", 512 << 20, "512MiB"},
		{"512 mib", 512 << 20, "512MiB"},
		{"8GiB", 8 << 30, "8GiB"},
		{"8GB", 8_000_000_000, "7812500KiB"},
		{"100k", 100_000, "100000"},
		{"-1", -1, "-1"},
		{"much", 7, ""},
		{"", 7, ""},
		{"1e3", 7, ""},
		{"20EiB", 7, ""},
		{"--1", 7, ""},
	} {
		value := int64(7)
		s := size[int64]{&value}
		err := s.Set(test.text)
		if value != test.bytes || (err != nil) != (test.shown == "") {
			t.Errorf("%q is %d (%v), want %d", test.text, value, err, test.bytes)
		}
		if err == nil && s.String() != test.shown {
			t.Errorf("%q is shown as %s, want %s", test.text, s, test.shown)
		}
	}
}

// etcdFlags are the flags of etcd 3.7.
const etcdFlags = `
advertise-client-urls auth-token auth-token-ttl auto-compaction-mode auto-compaction-retention auto-tls
backend-batch-interval backend-batch-limit backend-bbolt-freelist-type bcrypt-cost
bootstrap-defrag-threshold-megabytes cert-file cipher-suites client-cert-allowed-hostname client-cert-auth
client-cert-file client-crl-file client-key-file compact-hash-check-time compaction-batch-limit
compaction-sleep-interval corrupt-check-time cors data-dir discovery discovery-cacert discovery-cert
discovery-dial-timeout discovery-endpoints discovery-fallback discovery-insecure-skip-tls-verify
discovery-insecure-transport discovery-keepalive-time discovery-keepalive-timeout discovery-key discovery-password
discovery-proxy discovery-request-timeout discovery-srv discovery-srv-name discovery-token discovery-user
distributed-tracing-address distributed-tracing-instance-id distributed-tracing-sampling-rate
distributed-tracing-service-name downgrade-check-time election-timeout enable-distributed-tracing enable-grpc-gateway
enable-log-rotation enable-pprof feature-gates force-new-cluster grpc-keepalive-interval grpc-keepalive-min-time
grpc-keepalive-timeout heartbeat-interval host-whitelist initial-advertise-peer-urls initial-cluster
initial-cluster-state initial-cluster-token initial-election-tick-advance key-file listen-client-http-urls
listen-client-urls listen-metrics-urls listen-peer-urls log-format log-level log-outputs log-rotation-config-json
logger max-concurrent-streams max-learners max-request-bytes max-snapshots max-txn-ops max-wals memory-mlock metrics
name peer-auto-tls peer-cert-allowed-cn peer-cert-allowed-hostname peer-cert-file peer-client-cert-auth
peer-client-cert-file peer-client-key-file peer-crl-file peer-key-file peer-skip-client-san-verification
peer-trusted-ca-file pre-vote quota-backend-bytes raft-read-timeout raft-write-timeout self-signed-cert-validity
snapshot-catchup-entries snapshot-count socket-reuse-address socket-reuse-port strict-reconfig-check tls-max-version
tls-min-version trusted-ca-file unsafe-no-fsync v2-deprecation wal-dir warning-apply-duration
warning-unary-request-duration watch-progress-notify-interval
`

// TestEveryFlagOfEtcdIsExplained checks that each flag of etcd exists here or leads to a hint.
func TestEveryFlagOfEtcdIsExplained(t *testing.T) {
	flags := (&config{}).flags()
	for _, name := range strings.Fields(etcdFlags) {
		exists, hint := flags.Lookup(name) != nil, etcdHint(name)
		if exists == (hint != "") {
			t.Errorf("--%s: exists %v, hint %q", name, exists, hint)
		}
	}
}

func TestScheduleFollowsEtcdsRules(t *testing.T) {
	for _, test := range []struct {
		args string
		want string // the schedule, or the error
	}{
		{"", "<nil>"},
		{"--compact-interval=5m", "compactor.Interval{5m0s 0 1000}"},
		{"--compact-interval=5m --compact-interval-jitter=10 --compact-min-retain=3", "compactor.Interval{5m0s 10 3}"},
		{"--auto-compaction-retention=0", "<nil>"},
		{"--auto-compaction-retention=0s", "<nil>"},
		{"--auto-compaction-retention=2", "*compactor.Periodic 2h0m0s"},
		{"--auto-compaction-retention=30m", "*compactor.Periodic 30m0s"},
		{"--auto-compaction-mode=revision --auto-compaction-retention=500", "compactor.Revision{500}"},
		{"--auto-compaction-mode=revision", "<nil>"},
		{"--auto-compaction-mode=revision --auto-compaction-retention=5m", "--auto-compaction-retention"},
		{"--auto-compaction-mode=revision --auto-compaction-retention=-5", "--auto-compaction-retention"},
		{"--auto-compaction-retention=-5m", "--auto-compaction-retention"},
		{"--auto-compaction-retention=-5", "--auto-compaction-retention"},
		{"--auto-compaction-retention=99999999999", "--auto-compaction-retention"},
		{"--auto-compaction-mode=sometimes", "--auto-compaction-mode"},
		{"--auto-compaction-retention=1h --compact-interval=5m", "--compact-interval"},
		{"--compact-interval=-5m", "--compact-interval"},
		{"--compact-interval-jitter=100", "--compact-interval-jitter"},
		{"--compact-timeout=0s", "--compact-timeout"},
		{"--compact-min-retain=-1", "--compact-min-retain"},
	} {
		cfg := &config{}
		if err := cfg.flags().Parse(strings.Fields(test.args)); err != nil {
			t.Fatalf("%s: %v", test.args, err)
		}
		schedule, err := cfg.schedule()
		if err != nil {
			if !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(test.want, "--") {
				t.Errorf("%q: %v, want %s", test.args, err, test.want)
			}
			continue
		}
		if got := describeSchedule(schedule); got != test.want {
			t.Errorf("%q: %s, want %s", test.args, got, test.want)
		}
	}
}

func describeSchedule(s compactor.Schedule) string {
	if p, ok := s.(*compactor.Periodic); ok {
		return fmt.Sprintf("%T %v", p, p.Keep())
	}
	if s == nil {
		return "<nil>"
	}
	return fmt.Sprintf("%T%v", s, s)
}

// The table in the documentation has every flag with the default of the program, and no other flag.
func TestConfigurationPageIsInStep(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `--([a-z0-9-]+)` \\| [^|]+ \\| [^|]+ \\| ([^|]+) \\| [^|]+ \\|$")
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		documented[m[1]] = strings.Trim(m[2], "`")
	}
	_, retiredPart, found := strings.Cut(string(page), "## Ignored flags")
	if !found {
		t.Fatal("the section on retired flags is gone")
	}
	retiredPart, _, _ = strings.Cut(retiredPart, "\n## ")

	(&config{}).flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			if !strings.Contains(retiredPart, "`--"+f.Name+"`") {
				t.Errorf("--%s is not among the flags that do nothing", f.Name)
			}
			return
		}
		want := f.DefValue
		if want == "" {
			want = "none"
		}
		if got, ok := documented[f.Name]; !ok || got != want {
			t.Errorf("--%s: documented default %q, real one %q", f.Name, got, want)
		}
		delete(documented, f.Name)
	})
	for name := range documented {
		t.Errorf("--%s is documented and does not exist", name)
	}
}
