package logstructured

import (
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// streamEnds are a stream's queries of the log's head. A creation and a progress request are answered from a state that
// is not older than the call. The queries are numbered from 1. hub.mu guards all fields.
type streamEnds struct {
	// newest is the newest query. reached is the newest query whose answer has been applied here.
	newest, reached int
	// answers are the heads that have yet to be applied, in order.
	answers []streamEnd
	// retryAt is when to repeat the newest query; zero is never. It is set if the query failed, and also if its answer
	// has not been applied, because the database may have lost the entries up to that head.
	retryAt time.Time
}

// streamEnd is the position of the head that answers the queries up to query.
type streamEnd struct {
	query    int
	position log.Position
}

// answered adds an answer. It drops earlier answers at the same position or beyond: they add nothing, or belong to a
// history that the database has lost.
func (e *streamEnds) answered(end streamEnd) {
	for n := len(e.answers); n > 0 && e.answers[n-1].position >= end.position; n-- {
		e.answers = e.answers[:n-1]
	}
	e.answers = append(e.answers, end)
}

// settles reports whether a query is answered once position has been applied.
func (e *streamEnds) settles(position log.Position) bool {
	return len(e.answers) > 0 && e.answers[0].position <= position
}

// settle records that position has been applied.
func (e *streamEnds) settle(position log.Position) {
	for e.settles(position) {
		e.reached = e.answers[0].query
		if e.answers = e.answers[1:]; len(e.answers) == 0 {
			e.answers = nil
		}
	}
	if e.reached == e.newest {
		e.retryAt = time.Time{}
	}
}

// progressRequests are the queries of the unanswered progress requests, from the oldest to the newest; 0 is none.
type progressRequests struct{ oldest, newest int }

// answered records a response from a state that answers the queries up to reached.
func (p *progressRequests) answered(reached int) {
	if reached >= p.newest {
		*p = progressRequests{}
		return
	}
	p.oldest = p.newest
}
