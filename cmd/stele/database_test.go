package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/pkg/tls/tlstest"
)

func databaseOptions(t *testing.T, password string, args ...string) (connect.Options, string) {
	t.Helper()
	cfg := &config{}
	flags := cfg.flags()
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	cfg.database.password = password
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log, err := cfg.log.logger(&out)
	if err != nil {
		t.Fatal(err)
	}
	opts, err := cfg.database.options(flags, log)
	if err != nil {
		t.Fatal(err)
	}
	return opts, out.String()
}

func TestDatabaseOptions(t *testing.T) {
	cert := tlstest.New(t).Issue(t, "db")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(" hunter2 \r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, said := databaseOptions(t, "", "--endpoint=mysql://u@tcp(h)/d", "--datastore-password-file="+file,
		"--ca-file="+cert.CAFile, "--cert-file="+cert.CertFile, "--key-file="+cert.KeyFile,
		"--datastore-max-open-connections=7", "--datastore-max-idle-connections=3",
		"--datastore-connection-max-lifetime=1h", "--datastore-connection-max-idle-time=1m")
	want := connect.Options{
		PasswordFile: file,
		TLS:          connect.TLS{CAFile: cert.CAFile, CertFile: cert.CertFile, KeyFile: cert.KeyFile},
		Pool:         connect.Pool{MaxOpen: 7, MaxIdle: 3, MaxLifetime: time.Hour, MaxIdleTime: time.Minute},
	}
	if opts != want || said != "" {
		t.Errorf("options %+v; said %q", opts, said)
	}
	// Negative values, which mean "no limit" in kine, are no error. Package endpoint treats them as unset.
	opts, said = databaseOptions(t, "hunter2", "--endpoint=postgres://u@h/d", "--skip-verify",
		"--datastore-max-open-connections=-1",
		"--datastore-max-idle-connections=-1", "--datastore-connection-max-lifetime=-1s",
		"--datastore-connection-max-idle-time=-1s")
	if want := (connect.Options{Password: "hunter2", TLS: connect.TLS{SkipVerify: true},
		Pool: connect.Pool{MaxOpen: -1, MaxIdle: -1, MaxLifetime: -time.Second,
			MaxIdleTime: -time.Second}}); opts != want || said != "" {
		t.Errorf("options %+v; said %q", opts, said)
	}
	if opts, said := databaseOptions(t, "", "--endpoint=postgres://u@h/d"); opts != (connect.Options{}) || said != "" {
		t.Errorf("options %+v; said %q", opts, said)
	}
}

// A kine command line for SQLite may set all flags of the database connection.
func TestDatabaseOptionsThatAFileDoesNotNeed(t *testing.T) {
	opts, said := databaseOptions(t, "hunter2", kineCommandLine...)
	if opts != (connect.Options{}) {
		t.Errorf("options %+v", opts)
	}
	names := []string{passwordVariable}
	(&config{}).flags().VisitAll(func(f *pflag.Flag) {
		if marked(f, remoteFlag) {
			names = append(names, f.Name)
		}
	})
	if len(names) != 10 {
		t.Errorf("%d names", len(names))
	}
	for _, name := range names {
		if warned := strings.Contains(said, name+" has no effect"); warned != (name != "datastore-password-file") {
			t.Errorf("%s: warned %v", name, warned)
		}
	}
	if strings.Contains(said, "hunter2") {
		t.Errorf("shows the password: %s", said)
	}
}
