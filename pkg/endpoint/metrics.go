package endpoint

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
)

// registrations registers the collectors of one datastore with a registry that it shares with others. It records them,
// so that it can unregister them for the next datastore of the process. It skips a name that is taken: a missing metric
// must not prevent the start.
type registrations struct {
	to     prometheus.Registerer
	logger *logrus.Entry

	mu    sync.Mutex
	there []prometheus.Collector
	taken bool
}

func newRegistrations(to prometheus.Registerer, logger *logrus.Entry) *registrations {
	return &registrations{to: to, logger: logger}
}

// registerer returns r, or nil if there is no registry.
func (r *registrations) registerer() prometheus.Registerer {
	if r.to == nil {
		return nil
	}
	return r
}

// Register implements [prometheus.Registerer]. It never fails.
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
		r.logger.WithField("reason", reason).Warn("some metrics are not shown: their names are taken in the registry")
	}
	return nil
}

// MustRegister implements [prometheus.Registerer].
func (r *registrations) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		_ = r.Register(c)
	}
}

// Unregister implements [prometheus.Registerer] for collectors of this datastore.
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

// undo unregisters all collectors.
func (r *registrations) undo() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.there {
		r.to.Unregister(c)
	}
	r.there = nil
}
