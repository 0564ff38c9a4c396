package connect

import "errors"

// ErrKine means that a database contains a table named kine and no log. The operator may want to import the table, so
// [Options.BesideKine] is required to create an empty log.
var ErrKine = errors.New("the database holds a table kine and no log of Stele")

// Presence is what a query finds of a table.
type Presence uint8

const (
	// Missing means that there is no such table.
	Missing Presence = iota
	// Empty means that the table has no rows, or that the user may not read it.
	Empty
	// Filled means that the table has rows.
	Filled
)

// RefuseKine returns [ErrKine] if there is a table named kine and the table of the log is missing or empty. probe runs
// a query that returns at most one row of a table.
func RefuseKine(logTable string, probe func(query string) (Presence, error)) error {
	entries, err := probe(`SELECT 1 FROM ` + logTable + ` LIMIT 1`)
	if err != nil || entries == Filled {
		return err
	}
	kine, err := probe(`SELECT 1 FROM kine LIMIT 1`)
	if err == nil && kine != Missing {
		err = ErrKine
	}
	return err
}
