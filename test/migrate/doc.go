// Package migrate lets a real kine write its table under a load as Kubernetes makes it, imports the table, and compares
// what Stele then answers with what kine had answered: all keys, at all revisions, and all events from the compact
// revision on.
//
// Environment: STELE_TEST_MIGRATE=all tries each pair of databases, and not just each database with itself and one
// other; STELE_TEST_MIGRATE_ROWS is the size of the table that is imported for its time (default 20,000).
package migrate
