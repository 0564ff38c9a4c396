package connect

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
