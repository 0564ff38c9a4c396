// Package drivers opens the log at a data source name (DSN). Each kind of database has a package of its own, which
// implements [log.Log] and exports one value that describes the driver. docs/driver.md explains how to write a driver.
// Package drivertest checks that a driver keeps the contract.
package drivers
