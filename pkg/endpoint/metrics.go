package endpoint

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
)

// registrations is a [prometheus.Registerer] of one datastore on a registry that it shares with others. It remembers
// what it registered, so that the next datastore of the process finds the names free; and it does without a name that
// is taken, because no metric is worth a datastore that does not start.
type registrations struct {
	to  prometheus.Registerer
	log *logrus.Entry

	mu    sync.Mutex
	there []prometheus.Collector
	taken bool
}

func newRegistrations(to prometheus.Registerer, log *logrus.Entry) *registrations {
	return &registrations{to: to, log: log}
}

// registerer is what a constructor is given: nil if there is nothing to register with.
func (r *registrations) registerer() prometheus.Registerer {
	if r.to == nil {
		return nil
	}
	return r
}

// Register never fails but for a collector that is wrong by itself.
func (r *registrations) Register(c prometheus.Collector) error {
	err := r.to.Register(c)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.there = append(r.there, c)
		return nil
	}
	var already prometheus.AlreadyRegisteredError
	if !r.taken {
		r.taken = true
		reason := "another datastore of this process shows its own"
		if !errors.As(err, &already) {
			reason = err.Error()
		}
		r.log.WithField("reason", reason).Warn("some metrics are not shown: their names are taken in the registry")
	}
	return nil
}

// MustRegister is Register for several.
func (r *registrations) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		_ = r.Register(c)
	}
}

// Unregister takes back what was registered here, and nothing else.
func (r *registrations) Unregister(c prometheus.Collector) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, there := range r.there {
		if there == c {
			r.there = append(r.there[:i], r.there[i+1:]...)
			return r.to.Unregister(c)
		}
	}
	return false
}

// undo takes back everything.
func (r *registrations) undo() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.there {
		r.to.Unregister(c)
	}
	r.there = nil
}
