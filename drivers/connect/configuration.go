package connect

import "errors"

// ErrConfiguration marks an error of opening a database that waiting does not fix: a wrong option, credentials or a
// certificate that are refused, TLS that the server does not have, missing rights, a newer schema, an unsupported
// server. Each driver has one table of them (permanent in its errors.go), and [Permanent] has those of the network. Any
// other error of opening may pass (the server is not there yet, is starting, has no connection left, is a standby about
// to be promoted), and the caller tries again.
var ErrConfiguration = errors.New("the configuration must be changed")

// Configuration marks err, whose text says what to change, with [ErrConfiguration] and leaves the text as it is. nil
// stays nil.
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
