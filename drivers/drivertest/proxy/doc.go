// Package proxy is a TCP proxy on loopback that stands between a driver and its database and fails as networks do: it
// delays, holds and swallows bytes, resets and closes connections, and refuses new ones, chosen while it runs, per
// direction and for the connections that are open now or for all.
//
// Each direction of a connection reads all that comes as soon as it comes (the sender never waits for it), and writes
// what the mode lets through, in order. What was held is delivered when the mode changes, also when its sender is long
// gone: that is how a statement reaches a database seconds after the client gave up.
package proxy
