package connect

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// ReadPassword returns the password that the options give: the content of PasswordFile without the newline at its end,
// or else Password.
func (o Options) ReadPassword() (string, error) {
	if o.PasswordFile == "" {
		return o.Password, nil
	}
	content, err := os.ReadFile(o.PasswordFile)
	if err != nil {
		return "", err
	}
	password := strings.TrimRight(string(content), "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s is empty", o.PasswordFile)
	}
	return password, nil
}

// Passwords chooses between the password that is configured now and the last one that the server accepted, while the
// two differ: the file may be written before the server's administrator changes the password there. The zero value is
// ready.
type Passwords struct {
	mu sync.Mutex
	// current is what was configured when a password was last picked.
	current, accepted, refused string
}

// Pick returns the password for a new connection: current, unless the server refused it after it had accepted another
// one.
func (p *Passwords) Pick(current string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = current
	if current == p.refused && p.accepted != "" {
		return p.accepted
	}
	return current
}

// Accepted records that the server accepted a password.
func (p *Passwords) Accepted(password string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepted = password; p.refused == password {
		p.refused = ""
	}
}

// Refused records that the server refused a password, and reports whether Pick has another one.
func (p *Passwords) Refused(password string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = password
	return password != p.current || p.accepted != "" && p.accepted != password
}

// Files keeps a configuration part of which is in files, and reads it again for each connection.
type Files[C any] struct {
	read func() (C, error)

	mu   sync.Mutex
	last C
}

// NewFiles keeps the configuration that read returns, which was initial when it was read first.
func NewFiles[C any](initial C, read func() (C, error)) *Files[C] {
	return &Files[C]{read: read, last: initial}
}

// Current returns the configuration as the files are now. If they cannot be read, because they are being replaced, it
// is that of the last time, with the error.
func (f *Files[C]) Current() (C, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := f.read()
	if err == nil {
		f.last = now
	}
	return f.last, err
}
