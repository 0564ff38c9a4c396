package sqlite

import (
	"fmt"

	"github.com/stele-db/stele/drivers/connect"
)

// failure is an error after which the log stops: it neither reads nor writes nor checkpoints, and Close keeps the
// write-ahead log. Only the next start can recover from it.
type failure struct {
	path     string
	sentinel error
	cause    error
	// advice tells the operator what to do.
	advice string
}

func (f *failure) Error() string {
	return fmt.Sprintf("%s (sqlite: %s: %v); %s", connect.Text(f.cause, serverText), f.path, f.sentinel, f.advice)
}

func (f *failure) Unwrap() []error { return []error{f.sentinel, f.cause} }

const (
	syncFailedAdvice = "nothing more is acknowledged, and the -wal file, which holds every acknowledged write, " +
		"is kept: check the disk, stop all processes that have the file open, and start again"
	movedAdvice   = "nothing more is read or written: put the file back with its -wal, and restart Stele"
	corruptAdvice = "nothing more is read or written: stop Stele, keep a copy of the file and its -wal, " +
		"and start again; if that fails or `stele check` reports problems, restore a backup"
)
