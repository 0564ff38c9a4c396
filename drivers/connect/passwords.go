package connect

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// ReadPassword returns the password of the options: the contents of PasswordFile without the newline at its end, or
// else Password.
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

// Passwords chooses between the configured password and the last one that the server accepted, while they differ. The
// file may be changed before the password is changed on the server. The zero value is ready to use.
type Passwords struct {
	mu sync.Mutex
	// current is the configured password at the last call of Pick.
	current, accepted, refused string
}

// Pick returns the password for a new connection. It returns current unless the server has refused it and has accepted
// another one.
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

// Refused records that the server refused a password, and reports whether Pick would return another one.
func (p *Passwords) Refused(password string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = password
	return password != p.current || p.accepted != "" && p.accepted != password
}

// Files holds a configuration that is partly stored in files, and reads it again for each connection.
type Files[C any] struct {
	read func() (C, error)

	mu   sync.Mutex
	last C
}

// NewFiles returns Files for the configuration that read returns. initial is its current value.
func NewFiles[C any](initial C, read func() (C, error)) *Files[C] {
	return &Files[C]{read: read, last: initial}
}

// Current returns the configuration with the current contents of the files. If they cannot be read, for example because
// they are being replaced, it returns the last configuration and the error.
func (f *Files[C]) Current() (C, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := f.read()
	if err == nil {
		f.last = now
	}
	return f.last, err
}
