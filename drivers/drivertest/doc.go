// Package drivertest checks every obligation of [log.Log] on a real database. A driver's own tests call [Run]. An
// obligation that a driver cannot keep is listed as a [Category] with a reason; its test is never just left out.
//
// Most tests open several logs on one database, as several replicas of a server would.
package drivertest
