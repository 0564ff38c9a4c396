// Package replicas runs several replicas of Stele on one database server, PostgreSQL and MariaDB.
//
// It tests the list of members, the time from a write on one replica to the event on another, how the replicas share
// the log, what they do while the database is unreachable, and how an older version and a newer one work together.
//
//   - Figures are printed. Their bounds are loose, because other tests run at the same time; STELE_TEST_MEASURE=1
//     measures for longer and asserts the documented bounds, which needs a quiet machine.
//   - Measurements run without the race detector, other tests with it if the test has it.
//   - STELE_TEST_DATABASE runs the tests only on that kind of database.
package replicas
