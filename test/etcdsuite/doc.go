// Package etcdsuite runs etcd's own integration and end-to-end tests on Stele, and on etcd as a process of its own.
//
// The tests are those of the module go.etcd.io/etcd/tests/v3. They are copied to a temporary directory, where the
// framework's file that launches members is patched: a member is a process with etcd's command line, which
// [member.Server] starts, and not an etcd in the process of the test. The program shim translates the command line to
// Stele's. The members of a cluster are replicas on one database; on SQLite they are processes on one file.
//
// Each test runs in a process of its own, and a second time if it fails unexpectedly. expected.txt lists the tests that
// fail, with the reason; [TestSuites] fails if any other fails, or one of these passes. Tests that cannot pass on any
// server that is not in their own process, etcd included, are listed for the target "process", and are not run on
// Stele. Tests that start no server, or skip themselves, do not count.
//
// TestSuites is run for a target: STELE_TEST_DATABASE is sqlite (the default), postgres, mariadb, or etcd. Its subtests
// are suites and their tests:
//
//	STELE_TEST_DATABASE=postgres go test -v -run 'TestSuites/^lease$/TestLeaseGrant' .
//
// STELE_TEST_LOG=1 prints the output of all tests, with the logs of their servers. The last line of the output counts
// the tests.
//
// It is a module of its own because etcd's tests need all of etcd. The tests of etcd's client-side cache are left out:
// that module is not published everywhere.
package etcdsuite
