package connect

import "errors"

// ErrKine means that a database holds a table named kine and no log. The operator may have meant to import the table,
// so [Options.BesideKine] must allow to create an empty log.
var ErrKine = errors.New("the database holds a table kine and no log of Stele")
