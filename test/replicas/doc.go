// Package replicas runs several replicas of Stele on one database server, PostgreSQL and MariaDB: what they know of
// each other, what a write on one costs until it is an event on another, how they share the log, what they do when the
// database is away, and how an older version and a newer one live together.
//
//   - Figures are printed. Their bounds are loose, because other tests run beside; STELE_TEST_MEASURE=1 measures for longer and
//     asserts what is promised, which needs a quiet machine.
//   - What is measured runs without the race detector, the rest with it when the test has it.
//   - STELE_TEST_DATABASE runs the tests on that kind of database alone.
package replicas
