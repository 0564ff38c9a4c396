package main

import (
	"strings"
	"testing"
)

// TestConfigurationIsLogged checks that the log has the version and the flags that are set, by the command line or by
// variables, but no password.
func TestConfigurationIsLogged(t *testing.T) {
	env := []string{"STELE_MAX_TXN_OPS=77", "STELE_S3_SECRET_KEY=very-secret"}
	p := launch(t, t.TempDir(), env, "--listen-address=127.0.0.1:0", "--name=one")
	p.url()
	p.await("configuration", func() bool { return strings.Contains(p.stderr.String(), "msg=started") })
	said := p.stderr.String()
	for _, want := range []string{
		"version=dev", "--listen-address=127.0.0.1:0", "--max-txn-ops=77", "--name=one", "--s3-secret-key=...",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the log lacks %q:\n%s", want, said)
		}
	}
	if strings.Contains(said, "very-secret") || strings.Contains(said, "--request-timeout") {
		t.Errorf("the log holds a secret or a flag that is not set:\n%s", said)
	}
}

// TestConfiguredHidesPasswords checks that the password of an endpoint of any form stays out of the log.
func TestConfiguredHidesPasswords(t *testing.T) {
	for _, endpoint := range []string{
		"postgres://u:hunter2@h/d?sslmode=disable", "mysql://u:hunter2@tcp(h)/d", "postgres://u:hunter2@[/d",
		"u:hunter2@h",
		"postgres://h/d?user=u&password=hunter2",
	} {
		cfg := &config{}
		flags := cfg.flags()
		if err := flags.Parse([]string{"--endpoint=" + endpoint}); err != nil {
			t.Fatal(err)
		}
		if got := configured(flags); strings.Contains(got, "hunter2") || !strings.HasPrefix(got, "--endpoint=") {
			t.Errorf("%s is logged as %s", endpoint, got)
		}
	}
}
