package sqlite

import "fmt"

// Schema returns the statements that make an empty file a log, each as complete SQL, for those who read them before
// they let Stele run; Open executes the same.
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
