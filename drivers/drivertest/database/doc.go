// Package database gives tests real database servers, by scripts/databases: private ones on loopback, durable,
// installed from Debian packages when they are missing and the tests run as root. A test that cannot have its server
// fails.
//
// Servers never outlive the test binary: tests stop theirs when they end, [Main] stops those that tests share, and the
// script watches the process, so that a panic, a timeout or a signal leaves none behind.
package database
