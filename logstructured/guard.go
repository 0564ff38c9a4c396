package logstructured

// Guard may refuse a request, by an error that the request then ends with. It is told the state that the request is evaluated in: that of a read, and of a
// write the one at its place in the log, so that what was decided before it in the log holds for it, on whichever replica. It may be called several times, by
// one goroutine after the other, must be quick and must not call the store. The result of the last call counts.
type Guard func(at Moment) error

// Moment is the state beside the keys that a guard may look at.
type Moment struct{ Records }

// LeaseKeys returns the keys of a lease in key order. In [LeaseModeTTL] leases have none.
func (m Moment) LeaseKeys(id LeaseID) []string { return m.c.keysOf(id) }

// LeasedKeys calls fn with each key that has a lease, until it returns false. In [LeaseModeTTL] there are none.
func (m Moment) LeasedKeys(fn func(key string) bool) {
	if m.c.attached != nil {
		m.c.attached.Scan(func(a attachment) bool { return fn(a.key) })
	}
}

// pass asks a guard, or several.
func (c *control) pass(guards ...Guard) error {
	for _, g := range guards {
		if g == nil {
			continue
		}
		if err := g(Moment{Records{c}}); err != nil {
			return err
		}
	}
	return nil
}
