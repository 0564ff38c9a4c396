package connect

import "errors"

// ErrKine means that a database holds a table named kine and no log: beginning an empty one beside it may not be what is meant.
var ErrKine = errors.New("the database holds a table kine and no log of Stele: " +
	"to take over its data stop kine and run `stele import --from=kine` with the same --endpoint; " +
	"to begin with nothing beside it, start with --beside-kine")
