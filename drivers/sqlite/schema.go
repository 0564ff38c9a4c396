package sqlite

import "fmt"

// Schema returns the statements with which Open creates a log in an empty file. Operators can read them before they run
// Stele.
func Schema() []string {
	statements := []string{
		fmt.Sprintf("PRAGMA page_size = %d;", pageSize),
		"PRAGMA auto_vacuum = INCREMENTAL;",
		"PRAGMA journal_mode = WAL;",
		"BEGIN IMMEDIATE;",
	}
	statements = append(statements, scripts...)
	return append(statements, fmt.Sprintf(raiseVersionSQL+";", len(scripts), compatible), "COMMIT;")
}
