package connect

import "errors"

// ErrConfiguration marks an error of opening a database that waiting does not mend: an option that is wrong, credentials or a certificate
// that are refused, rights that are missing, a schema that is too new, a server that is not supported. Any other error of opening may pass
// (the server is not there yet, is starting, has no connection left, is a standby about to be promoted), so that trying again is right.
var ErrConfiguration = errors.New("the configuration must be changed")

// Configuration marks err, whose text says what to change, with [ErrConfiguration] and leaves the text as it is. nil stays nil.
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
