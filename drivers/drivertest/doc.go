// Package drivertest checks every obligation of [log.Log] on a real database. A driver's own tests call [Run];
// what a driver cannot keep is a named [Category] with a reason, never a missing test.
//
// Several replicas of a server are several logs opened on one database, which is what most tests here do.
package drivertest
