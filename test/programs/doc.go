// Package programs runs pinned versions of other projects' programs on Stele and on etcd.
//
// A program passes if it behaves the same on both; docs/programs.md lists the results. Each program has a file of its
// own.
//
// Programs come from Debian, npm and the Go module proxy. A Go program whose dependencies are heavy has a module of its
// own in a directory below this one.
//
// Environment: STELE_TEST_PROGRAMS is short for the tests that take seconds, all for every test; without it no test
// runs, because programs have to be downloaded. STELE_TEST_DATABASE is where Stele stores, as in the other suites.
package programs
