package logstructured

import (
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// shared holds what the methods of [Store] and the writer both use.
type shared struct {
	log     log.Log
	opts    Options
	logger  *logrus.Entry
	metrics *metrics
	cluster uint64

	values  values
	hub     *hub
	applied applied
	deleter *deleter
	health  health
	// refusals tracks whether the database refuses writes.
	refusals refusals
	alarms   *Derived[*alarms]
	queue    queue
	// behind wakes the writer to apply appends of other replicas.
	behind chan struct{}
	// notified is set while the database sends notifications of appends.
	notified atomic.Bool
}

// snapshot returns the published state.
func (s *shared) snapshot() *snapshot { return s.hub.current.Load() }

// wakeFollower makes the writer apply appends of other replicas.
func (s *shared) wakeFollower() {
	select {
	case s.behind <- struct{}{}:
	default:
	}
}
