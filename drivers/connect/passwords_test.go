package connect

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// server accepts one password.
type server struct{ password string }

// connect makes a connection as the drivers do, and returns how many attempts it took, 0 if all were refused.
func (s server) connect(p *Passwords, configured string) int {
	for attempt := 1; ; attempt++ {
		password := p.Pick(configured)
		if password == s.password {
			p.Accepted(password)
			return attempt
		}
		if !p.Refused(password) || attempt == 2 {
			return 0
		}
	}
}

func TestPasswordsFollowTheServer(t *testing.T) {
	var p Passwords
	s := server{"one"}
	for i, step := range []struct {
		server, file string
		want         int
	}{
		{"one", "wrong", 0}, // at the start there is nothing else to try
		{"one", "one", 1},
		{"one", "two", 2}, // the file first
		{"one", "two", 1},
		{"two", "two", 2},
		{"two", "two", 1},
		{"three", "two", 0}, // the server first
		{"three", "two", 0},
		{"three", "three", 1},
		{"three", "four", 2}, // and given up
		{"three", "three", 1},
		{"three", "four", 1}, // which was refused before
		{"four", "four", 2},
	} {
		s.password = step.server
		if got := s.connect(&p, step.file); got != step.want {
			t.Errorf("step %d: the server wants %s, the file says %s: %d attempts, want %d", i, step.server, step.file,
				got, step.want)
		}
	}
}

func TestReadPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	o := Options{Password: "not this one", PasswordFile: file}
	if _, err := o.ReadPassword(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for content, want := range map[string]string{
		"secret\n": "secret", "\n": "", "": "",
		" a b \r\n": " a b ", //nolint:gocritic // spaces belong to a password
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := o.ReadPassword(); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	if got, err := (Options{Password: "this one"}).ReadPassword(); err != nil || got != "this one" {
		t.Errorf("without a file: %q, %v", got, err)
	}
}

func TestFilesKeepTheLastConfiguration(t *testing.T) {
	content, failure := 1, error(nil)
	f := NewFiles(0, func() (int, error) { return content, failure })
	for _, step := range []struct {
		content int
		failure error
		want    int
	}{{1, os.ErrPermission, 0}, {1, nil, 1}, {2, os.ErrNotExist, 1}, {3, nil, 3}} {
		content, failure = step.content, step.failure
		if got, err := f.Current(); got != step.want || !errors.Is(err, step.failure) {
			t.Errorf("%v: %d, %v", step, got, err)
		}
	}
}
