package logstructured

import (
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// recordImport is the record that holds the source of an import as long as that is not finished.
const recordImport = "import"

// startsImport returns an error if an entry is the beginning of an import, which does not concern those who serve.
func startsImport(e *log.Entry) error {
	if e.Kind == log.KindRecord && string(e.Key) == recordImport && e.Version != 0 {
		return unfinishedImport(e.Value)
	}
	return nil
}

// unfinishedImport returns an error if the state holds the beginning of an import.
func (st *state) unfinishedImport() error {
	if source, ok := (Records{&st.control}).Get(recordImport); ok {
		return unfinishedImport(source)
	}
	return nil
}

func unfinishedImport(source []byte) error {
	return fmt.Errorf("%w: run the `stele import` from %s again, which goes on where it was interrupted", ErrImportUnfinished, source)
}
