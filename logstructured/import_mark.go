package logstructured

import (
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// recordImport is the record that holds the source of an import until the import is finished.
const recordImport = "import"

// startsImport returns an error if an entry begins an import. A replica must not serve such a log.
func startsImport(e *log.Entry) error {
	if e.Kind == log.KindRecord && string(e.Key) == recordImport && e.Version != 0 {
		return unfinishedImport(e.Value)
	}
	return nil
}

// unfinishedImport returns an error if the state holds an unfinished import.
func (st *state) unfinishedImport() error {
	if source, ok := (Records{&st.control}).Get(recordImport); ok {
		return unfinishedImport(source)
	}
	return nil
}

func unfinishedImport(source []byte) error {
	return fmt.Errorf("%w: run the `stele import` from %s again, which continues where it was interrupted",
		ErrImportUnfinished, source)
}
