package connect

import "errors"

// ErrConfiguration marks an error of opening a database that retrying cannot fix. Examples are a wrong option, refused
// credentials, a refused certificate, a server without TLS, missing privileges, a newer schema and an unsupported
// server. Each driver lists such errors in one table (permanent in its errors.go), and [Permanent] covers those of the
// network. All other errors of opening may be temporary (the server is unreachable, is starting, has no free
// connection, or is a standby that is about to be promoted), and the caller retries.
var ErrConfiguration = errors.New("the configuration must be changed")

// Configuration marks err, whose text says what to change, with [ErrConfiguration]. It does not change the text, and
// returns nil for nil.
func Configuration(err error) error {
	if err == nil || errors.Is(err, ErrConfiguration) {
		return err
	}
	return &configuration{err}
}

type configuration struct{ err error }

func (c *configuration) Error() string        { return c.err.Error() }
func (c *configuration) Unwrap() error        { return c.err }
func (c *configuration) Is(target error) bool { return target == ErrConfiguration }
