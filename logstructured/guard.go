package logstructured

import "errors"

// Guard authorizes one request. The request fails with the error that Guard returns, and takes effect only if that is
// nil.
//
// The store calls it with the state on which it evaluates the request. For a write that is the state at its position in
// the log, so that entries before the write hold for it on every replica. The store may call it several times, but not
// concurrently, and the last result counts. Guard must be quick and must not call the store.
//
// Every method of [Store] that serves a client requires one. A nil Guard refuses every request.
type Guard func(at Moment) error

// Unguarded is the [Guard] of requests that need no permission: those of the process itself.
func Unguarded(Moment) error { return nil }

// ErrNoGuard refuses a request with a nil [Guard].
var ErrNoGuard = errors.New("the request has no guard")

// Moment is the state, other than keys, on which a guard decides.
type Moment struct{ Records }

// LeaseKeys returns the keys of a lease in key order. In [LeaseModeTTL] leases have none.
func (m Moment) LeaseKeys(id LeaseID) []string { return m.c.keysOf(id) }

// LeasedKeys calls fn with each key that has a lease, until it returns false. In [LeaseModeTTL] there are none.
func (m Moment) LeasedKeys(fn func(key string) bool) {
	if m.c.attached != nil {
		m.c.attached.Scan(func(a attachment) bool { return fn(a.key) })
	}
}

// pass returns the error of a guard on this state.
func (c *control) pass(guard Guard) error {
	if guard == nil {
		return ErrNoGuard
	}
	return guard(Moment{Records{c}})
}
