package postgres

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-db/stele/logstructured"
)

func TestErrorsByCode(t *testing.T) {
	for _, test := range []struct {
		severity, code    string
		rolledBack, stale bool
		sentinel          error
	}{
		{"ERROR", "40001", true, false, nil},
		{"ERROR", "40P01", true, false, nil},
		{"ERROR", "40003", false, false, nil},
		{"ERROR", "57014", true, false, nil},
		{"ERROR", "25006", true, true, logstructured.ErrReadOnly},
		{"ERROR", "53100", true, false, logstructured.ErrNoSpace},
		{"ERROR", "53200", true, false, nil},
		{"ERROR", "54000", true, false, nil},
		{"ERROR", "22001", true, false, nil},
		{"ERROR", "26000", true, true, nil},
		{"ERROR", "42501", true, false, nil},
		{"ERROR", "XX000", false, false, nil},
		{"ERROR", "XX001", true, false, logstructured.ErrCorrupt},
		{"ERROR", "58030", false, false, nil},
		{"ERROR", "08007", false, true, nil},
		{"ERROR", "57P01", false, true, nil},
		{"ERROR", "", false, false, nil},
		{"FATAL", "57P01", false, true, nil},
		{"FATAL", "57P03", false, true, nil},
		{"FATAL", "25006", false, true, logstructured.ErrReadOnly},
		{"FATAL", "40001", false, true, nil},
		{"PANIC", "53100", false, true, logstructured.ErrNoSpace},
	} {
		err := fmt.Errorf("wrapped: %w", &pgconn.PgError{Severity: "translated", SeverityUnlocalized: test.severity, Code: test.code})
		if got := rolledBack(err); got != test.rolledBack {
			t.Errorf("%s %s: rolled back %v, want %v", test.severity, test.code, got, test.rolledBack)
		}
		if got := staleConnection(err); got != test.stale {
			t.Errorf("%s %s: stale connection %v, want %v", test.severity, test.code, got, test.stale)
		}
		if got := sentinelOf(err); !errors.Is(got, test.sentinel) {
			t.Errorf("%s %s: sentinel %v, want %v", test.severity, test.code, got, test.sentinel)
		}
		if translated := translate("test", err); test.sentinel != nil && !errors.Is(translated, test.sentinel) || !errors.Is(translated, err) {
			t.Errorf("%s %s: translated to %v", test.severity, test.code, translated)
		}
	}
	if rolledBack(io.ErrUnexpectedEOF) || !staleConnection(io.ErrUnexpectedEOF) {
		t.Error("a lost connection is the server's word, or a good one")
	}
	if staleConnection(&pgconn.ConnectError{}) || staleConnection(&stopped{io.EOF}) {
		t.Error("what another connection does not mend is tried again")
	}
	if !errors.Is(translate("test", pgconn.ErrReadOnlyConnection), logstructured.ErrReadOnly) {
		t.Error("no server that takes writes is not read-only")
	}
}
