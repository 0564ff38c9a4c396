// Package drivers opens the log that a data source name (DSN) stands for. Each database has a package of its own, whose
// log keeps every obligation of [log.Log]; package drivertest checks them.
package drivers
