// Package proxy is a TCP proxy on loopback between a driver and its database that simulates network failures. It
// delays, holds and drops bytes, resets and closes connections, and refuses new ones. All of this can be changed while
// it runs, per direction, and for the current connections or for all.
//
// Each direction of a connection reads data as soon as they arrive (the sender never waits), and writes them in order
// as the mode permits. Held data are delivered when the mode changes, even if the sender has closed its connection long
// before. In this way a statement reaches a database seconds after the client gave up.
package proxy
