package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMistakes checks that every mistake ends with exit code 1, one sentence that names the flag (or variable) and the
// fix, and no data touched.
func TestMistakes(t *testing.T) {
	busy := listenTCP(t)
	plain := postgresWithoutTLS(t)
	for name, test := range map[string]struct {
		args []string
		env  []string
		want []string
	}{
		"bad duration": {args: []string{"--compact-interval=5"},
			want: []string{"--compact-interval", `"5"`, "5s"}},
		"bad duration, one dash": {args: []string{"-compact-interval", "soon"},
			want: []string{"--compact-interval", `"soon"`}},
		"bad duration from kine's variable": {
			env: []string{"KINE_COMPACT_INTERVAL=5"}, want: []string{"KINE_COMPACT_INTERVAL", `"5"`, "5s"}},
		"bad number from variable": {
			env: []string{"STELE_MAX_TXN_OPS=many"}, want: []string{"STELE_MAX_TXN_OPS", `"many"`, "whole number"}},
		"bad boolean":   {args: []string{"--debug=perhaps"}, want: []string{"--debug", "true or false"}},
		"value missing": {args: []string{"--endpoint"}, want: []string{"--endpoint", "needs a value"}},
		"unknown flag":  {args: []string{"--listen-addr=x"}, want: []string{"--listen-addr", "--help"}},
		"etcd's flag": {args: []string{"--listen-client-urls=http://127.0.0.1:0"},
			want: []string{"--listen-client-urls", "--listen-address"}},
		"etcd's data directory": {args: []string{"--data-dir", "x"}, want: []string{"--data-dir", "--endpoint"}},
		"etcd's tuning": {args: []string{"--heartbeat-interval=100"},
			want: []string{"--heartbeat-interval", "etcd", "no equivalent"}},
		"bad size": {args: []string{"--quota-backend-bytes=8 gigs"},
			want: []string{"--quota-backend-bytes", "a size", "8GiB"}},
		"unknown variable": {env: []string{"STELE_LISTEN_ADDR=127.0.0.1:0"},
			want: []string{"STELE_LISTEN_ADDR", "no flag"}},
		"argument":        {args: []string{"serve", "now"}, want: []string{`"now"`, "flags only"}},
		"unknown command": {args: []string{"server"}, want: []string{`"server"`, "serve"}},
		"log format":      {args: []string{"--log-format=xml"}, want: []string{"--log-format", "plain", "json"}},
		"log level":       {args: []string{"--log-level=loud"}, want: []string{"--log-level", "debug"}},
		"empty address":   {args: []string{"--listen-address="}, want: []string{"--listen-address", "host:port"}},
		"port in use": {args: []string{"--listen-address=" + busy},
			want: []string{"--listen-address", busy, "in use", "free address"}},
		"not an address": {args: []string{"--listen-address=127.0.0.1"},
			want: []string{"--listen-address", "missing port"}},
		"unknown listen scheme": {
			args: []string{"--listen-address=ftp://127.0.0.1:0"},
			want: []string{"--listen-address", "unix"}},
		"foreign address": {args: []string{"--listen-address=192.0.2.1:0"},
			want: []string{"--listen-address", "192.0.2.1", "--insecure-listen"}},
		"plain text on all": {args: []string{"--listen-address=0.0.0.0:0"},
			want: []string{"--listen-address", "--server-cert-file", "--insecure-listen"}},
		"plain text on all 2": {args: []string{"--listen-address=:0"}, want: []string{"--insecure-listen"}},
		"plain text on all 3": {args: []string{"--listen-address=http://[::]:0"}, want: []string{"--insecure-listen"}},
		"https without certificate": {
			args: []string{"--listen-address=https://127.0.0.1:0"},
			want: []string{"--listen-address", "--server-cert-file"}},
		"metrics port in use": {
			args: []string{"--listen-address=127.0.0.1:0", "--metrics-bind-address=" + busy},
			want: []string{"--metrics-bind-address", busy, "in use"}},
		"profiles without a port for them": {
			args: []string{"--listen-address=127.0.0.1:0", "--metrics-enable-profiling"},
			want: []string{"--metrics-enable-profiling", "--metrics-bind-address"}},
		"certificate without key": {args: []string{"--server-cert-file=x"},
			want: []string{"--server-cert-file", "--server-key-file"}},
		"key without certificate": {args: []string{"--server-key-file=x"},
			want: []string{"--server-cert-file", "--server-key-file"}},
		"CA without certificate": {args: []string{"--trusted-ca-file=x"},
			want: []string{"--trusted-ca-file", "--server-cert-file"}},
		"certificate is not there": {args: []string{"--server-cert-file=/no/such.crt",
			"--server-key-file=/no/such.key"}, want: []string{"--server-cert-file", "/no/such.crt", "PEM"}},
		"certificate is not one": {args: []string{"--server-cert-file=/dev/null", "--server-key-file=/dev/null"},
			want: []string{"--server-cert-file", "/dev/null", "PEM"}},
		"unknown database": {args: []string{"--endpoint=oracle://host/db"},
			want: []string{"--endpoint", "oracle", "sqlite://"}},
		"database without scheme": {args: []string{"--endpoint=user:hunter2@tcp(host)/db"},
			want: []string{"--endpoint", "no scheme", "mysql://"}},
		"scheme without slashes": {args: []string{"--endpoint=sqlite:state.db"},
			want: []string{"--endpoint", "no scheme", "sqlite://PATH"}},
		"scheme alone": {args: []string{"--endpoint=postgres"},
			want: []string{"--endpoint", "no scheme", "postgres://"}},
		"libpq's parameters": {args: []string{"--endpoint=dbname=kube password=hunter2"},
			want: []string{"--endpoint", "no scheme", "postgres://"}},
		"file that must exist": {args: []string{"--endpoint=sqlite://none/x.db?mode=rw"},
			want: []string{"--endpoint", "no file", "mode=rwc"}},
		"SQLite in memory": {args: []string{"--endpoint=sqlite://x.db?mode=memory"},
			want: []string{"--endpoint", "mode", "file"}},
		"database without TLS": {
			args: []string{"--endpoint=postgres://u:hunter2@" + plain + "/db?sslmode=require"},
			want: []string{"--endpoint", "no TLS", "ssl = on"}},
		"database certificate without key": {
			args: []string{"--endpoint=postgres://u:hunter2@192.0.2.1/db", "--cert-file=x"},
			want: []string{"--cert-file", "--key-file", "--server-cert-file"}},
		"database key without certificate": {
			args: []string{"--endpoint=mysql://u:hunter2@tcp(192.0.2.1)/db", "--key-file=x"},
			want: []string{"--cert-file", "--key-file"}},
		"database CA is not there": {
			args: []string{"--endpoint=postgres://u:hunter2@192.0.2.1/db", "--ca-file=/no/such.crt"},
			want: []string{"--ca-file", "/no/such.crt", "PEM"}},
		"database CA is not one": {
			args: []string{"--endpoint=mysql://u:hunter2@tcp(192.0.2.1)/db", "--ca-file=/dev/null"},
			want: []string{"--ca-file", "/dev/null", "PEM"}},
		"password file is not there": {
			args: []string{"--endpoint=postgres://u@192.0.2.1/db", "--datastore-password-file=/no/such"},
			want: []string{"--datastore-password-file", "/no/such", "readable"}},
		"password file is empty": {
			args: []string{"--endpoint=postgres://u@192.0.2.1/db", "--datastore-password-file=/dev/null"},
			want: []string{"--datastore-password-file", "/dev/null", "empty"}},
		"two passwords": {
			args: []string{"--endpoint=postgres://u@192.0.2.1/db",
				"--datastore-password-file=/dev/null"}, env: []string{"STELE_DATASTORE_PASSWORD=hunter2"},
			want: []string{"--datastore-password-file", "STELE_DATASTORE_PASSWORD", "one of them"}},
		"bad number of connections": {args: []string{"--datastore-max-open-connections=all"},
			want: []string{"--datastore-max-open-connections", `"all"`, "whole number"}},
		"schema of nothing": {args: []string{"schema", "--print", "--endpoint=oracle://u:hunter2@host/db"},
			want: []string{"--endpoint", "oracle", "sqlite://"}},
		"schema of a directory": {args: []string{"schema", "--endpoint=sqlite:///tmp"},
			want: []string{"--endpoint", "/tmp", "directory"}},
		"schema's argument": {args: []string{"schema", "postgres://u:hunter2@host/db"},
			want: []string{"schema", "--endpoint"}},
		"database is a directory": {args: []string{"--endpoint=sqlite:///tmp"},
			want: []string{"--endpoint", "/tmp", "directory"}},
		"advertised address": {args: []string{"--advertise-client-urls=stele.example:2379"},
			want: []string{"--advertise-client-urls", "stele.example", "http://"}},
		"bad TLS version": {args: []string{"--tls-min-version=TLS1.1"},
			want: []string{"--tls-min-version", "TLS1.2", "TLS1.3"}},
		"no TLS version": {
			args: []string{"--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"},
			want: []string{"--tls-min-version", "--tls-max-version"}},
		"cipher suites of TLS 1.3": {
			args: []string{"--tls-min-version=TLS1.3", "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
			want: []string{"--cipher-suites", "--tls-min-version"}},
		"unknown cipher suite": {args: []string{"--cipher-suites=ROT13"},
			want: []string{"--cipher-suites", "ROT13", "TLS_ECDHE"}},
		"insecure cipher suite": {args: []string{"--cipher-suites=TLS_RSA_WITH_RC4_128_SHA"},
			want: []string{"--cipher-suites", "RC4", "insecure"}},
		"revocation without clients": {args: []string{"--client-crl-file=x"},
			want: []string{"--client-crl-file", "--trusted-ca-file", "--client-cert-auth"}},
		"negative keepalive": {args: []string{"--grpc-keepalive-timeout=-1s"},
			want: []string{"--grpc-keepalive-timeout", "negative"}},
		"advertised without a port": {args: []string{"--advertise-client-urls=http://host"},
			want: []string{"--advertise-client-urls", "host:port", "http://stele.example"}},
		"advertised without a host": {args: []string{"--advertise-client-urls=http://"},
			want: []string{"--advertise-client-urls", "http://stele.example"}},
		"origin with a path": {args: []string{"--cors=https://page.example/"},
			want: []string{"--cors", "https://page.example/", "path"}},
		"lease mode": {args: []string{"--lease-mode=kine"},
			want: []string{"--lease-mode", "neither ttl nor etcd"}},
		"no operations":         {args: []string{"--max-txn-ops=0"}, want: []string{"--max-txn-ops", "positive"}},
		"negative request size": {args: []string{"--max-request-bytes=-1"}, want: []string{"--max-request-bytes"}},
		"negative cache":        {args: []string{"--value-cache-bytes=-1"}, want: []string{"--value-cache-bytes"}},
		"no polling": {args: []string{"--datastore-poll-interval=0s"},
			want: []string{"--datastore-poll-interval", "10ms"}},
		"no time for requests": {args: []string{"--request-timeout=0s"},
			want: []string{"--request-timeout", "7s"}},
		"no progress": {args: []string{"--watch-progress-notify-interval=-1s"},
			want: []string{"--watch-progress-notify-interval"}},
		"no retention": {args: []string{"--compact-retention=0s"}, want: []string{"--compact-retention"}},
		"two schedules": {args: []string{"--compact-interval=1h", "--auto-compaction-retention=1h"},
			want: []string{"--compact-interval", "--auto-compaction-retention"}},
		"wrong kind of retention": {args: []string{"--auto-compaction-mode=revision",
			"--auto-compaction-retention=1h"}, want: []string{"--auto-compaction-retention", "number of revisions"}},
		"wrong compaction mode": {args: []string{"--auto-compaction-mode=never"},
			want: []string{"--auto-compaction-mode", "periodic", "revision"}},
		"percentage beyond hundred": {args: []string{"--compact-interval-jitter=150"},
			want: []string{"--compact-interval-jitter", "99"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			env := test.env
			if !strings.Contains(strings.Join(test.args, " "), "listen-address") {
				env = append(env, "STELE_LISTEN_ADDRESS=127.0.0.1:0")
			}
			p := launch(t, dir, env, test.args...)
			if code := p.wait(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			said := p.stderr.String()
			for _, want := range test.want {
				if !strings.Contains(said, want) {
					t.Errorf("%q lacks %q", said, want)
				}
			}
			if strings.Count(said, "\n") != 1 {
				t.Errorf("not one line: %q", said)
			}
			if strings.Contains(said, "hunter2") {
				t.Errorf("shows a password: %q", said)
			}
			if p.stdout.String() != "" {
				t.Errorf("standard output: %q", p.stdout.String())
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

// postgresWithoutTLS returns the address of a server that refuses PostgreSQL's request for TLS.
func postgresWithoutTLS(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := io.ReadFull(c, make([]byte, 8)); err == nil {
				_, _ = c.Write([]byte("N"))
			}
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

func listenTCP(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// The error for a file that is not a Stele log names the file, and the file does not change.
func TestForeignFileIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "notes.txt")
	content := strings.Repeat("not a database\n", 1000)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, dir, nil, "--listen-address=127.0.0.1:0", "--endpoint=sqlite://notes.txt")
	if code := p.wait(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if said := p.stderr.String(); !strings.Contains(said, "--endpoint") || !strings.Contains(said, path) {
		t.Errorf("said %q", said)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("the file was changed (%v)", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestSocketInUse checks that a second process cannot take the socket of a running one, which keeps serving.
func TestSocketInUse(t *testing.T) {
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	address := "unix://" + dir + "/s"
	first := launch(t, dir, nil, "--listen-address="+address)
	first.url()
	other := t.TempDir()
	second := launch(t, other, nil, "--listen-address="+address)
	if code := second.wait(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if said := second.stderr.String(); !strings.Contains(said, "--listen-address") ||
		!strings.Contains(said, "in use") {
		t.Errorf("said %q", said)
	}
	if left, err := os.ReadDir(other); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	put(t, first.kv(), "k", "v")

	// A socket that a killed process left behind is replaced.
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.exited
	third := launch(t, dir, nil, "--listen-address="+address)
	if got := get(t, third.kv(), "k"); got != "v" {
		t.Errorf("k is %q", got)
	}
}
