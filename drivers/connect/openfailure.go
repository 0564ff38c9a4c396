package connect

import "errors"

// OpenFailure is a reason not to open a log that an administrator has to fix. Its text is one line.
type OpenFailure struct {
	// Text describes the problem and the fix.
	Text string
	// Err is the server's error, or nil.
	Err error
	// Server is the driver's [ServerText].
	Server ServerText
}

func (e *OpenFailure) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + " (" + Text(e.Err, e.Server) + ")"
}

func (e *OpenFailure) Unwrap() error { return e.Err }

// OpenError returns failed, an error of opening a log, for the operator. It marks the error with [ErrConfiguration] if
// an administrator has to fix it: an [OpenFailure], [ErrKine], or an error for which there is advice.
func OpenError(failed *Failure, advice string) error {
	var known *OpenFailure
	switch {
	case errors.As(failed.Err, &known):
		return Configuration(known)
	case errors.Is(failed.Err, ErrKine):
		return Configuration(ErrKine)
	case advice != "":
		failed.Advice = advice
		return Configuration(failed)
	}
	return failed
}
