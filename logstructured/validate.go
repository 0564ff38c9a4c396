package logstructured

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stele-db/stele/logstructured/log"
)

// validate returns an error if no store writes such an entry, whatever else is in the log. A kind that a later version
// introduced is an error too: a store that does not know what an entry changes cannot continue.
func validate(e *log.Entry) error {
	switch e.Kind {
	case log.KindPut, log.KindTombstone:
		if len(e.Key) == 0 {
			return e.Damaged("it has no key")
		}
	case log.KindCompaction, log.KindRecovery, log.KindLease, log.KindJump:
	case log.KindRecord:
		if err := validateRecord(e); err != nil {
			return e.Damaged(err.Error())
		}
	case log.KindKeepAlive:
		if len(e.Value)%8 != 0 || len(e.Value) == 0 {
			return e.Damaged(fmt.Sprintf("it keeps leases alive in %d bytes", len(e.Value)))
		}
	default:
		return fmt.Errorf("%w: position %d is of %v", errUnknownKind, e.Position, e.Kind)
	}
	return nil
}

// validateRecord returns an error if the record is malformed. It accepts the records of other packages.
func validateRecord(e *log.Entry) error {
	switch name := string(e.Key); {
	case name == "":
		return errors.New("it is a record without a name")
	case e.Version == 0:
		return nil
	case name == recordLeaseMode:
		return LeaseMode(e.Value).Valid()
	case strings.HasPrefix(name, prefixAlarms):
		_, err := parseAlarm(name)
		return err
	}
	return nil
}

var errUnknownKind = errors.New("a later version of Stele writes to this database: upgrade")
