package logstructured

import (
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// streamEnds are a stream's questions for the end of the log: a creation and a request for progress are answered by a
// state that is not older than they are. The questions are numbered from 1 on. hub.mu guards all of it.
type streamEnds struct {
	// asked is the newest question, reached the newest one whose answer has been applied here.
	asked, reached int
	// answers are the ends that have yet to be applied, in order.
	answers []streamEnd
	// retryAt is when to repeat the newest question; zero is never. The database has not answered it, or the answer has
	// not been applied: the database may have lost what it told.
	retryAt time.Time
}

// streamEnd is the end of the log, as the database told it for the questions up to question.
type streamEnd struct {
	question int
	position log.Position
}

// answered adds an answer. Ends that are not before it say no more than it does, or are those of a history that the
// database has lost.
func (e *streamEnds) answered(end streamEnd) {
	for n := len(e.answers); n > 0 && e.answers[n-1].position >= end.position; n-- {
		e.answers = e.answers[:n-1]
	}
	e.answers = append(e.answers, end)
}

// settles reports whether position answers a question.
func (e *streamEnds) settles(position log.Position) bool {
	return len(e.answers) > 0 && e.answers[0].position <= position
}

// settle takes note that position has been applied.
func (e *streamEnds) settle(position log.Position) {
	for e.settles(position) {
		e.reached = e.answers[0].question
		if e.answers = e.answers[1:]; len(e.answers) == 0 {
			e.answers = nil
		}
	}
	if e.reached == e.asked {
		e.retryAt = time.Time{}
	}
}

// progressRequests are the questions of the requests for progress that were not answered, from the oldest to the
// newest; 0 is none.
type progressRequests struct{ oldest, newest int }

// answered takes note of a response by a state that answers the questions up to reached.
func (p *progressRequests) answered(reached int) {
	if reached >= p.newest {
		*p = progressRequests{}
		return
	}
	p.oldest = p.newest
}
