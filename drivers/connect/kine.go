package connect

import "errors"

// ErrKine means that a database contains a table named kine and no log. The operator may want to import the table, so
// [Options.BesideKine] is required to create an empty log.
var ErrKine = errors.New("the database holds a table kine and no log of Stele")
