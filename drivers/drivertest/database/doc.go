// Package database starts real database servers for tests, using scripts/databases. The servers are private, durable
// and on loopback. If a server is missing, the script installs it from Debian packages if the tests run as root. A test
// fails if its server cannot be started.
//
// Servers never outlive the test binary. Tests stop their own servers, [Main] stops shared ones, and the script watches
// the process, so that servers are stopped even after a panic, a timeout or a signal.
package database
