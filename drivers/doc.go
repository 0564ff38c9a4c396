// Package drivers opens the log at a data source name (DSN). Each kind of database has a package of its own, which
// implements [log.Log] and describes itself by one value; docs/driver.md says how to write another. Package drivertest
// checks that a driver keeps the contract.
package drivers
