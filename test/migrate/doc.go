// Package migrate imports tables of a real kine, written under a load like Kubernetes', and compares the answers.
//
// Stele must answer what kine answered: all keys at all revisions, and all events from the compact revision on.
//
// Environment: STELE_TEST_MIGRATE=all tests each pair of databases, instead of each database with itself and one other;
// STELE_TEST_MIGRATE_ROWS is the size of the table whose import is timed (default 20,000).
package migrate
