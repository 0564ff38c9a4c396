package crash

import (
	"slices"
	"time"
)

// Unavailable returns the longest time in which a healthy server acknowledged no write while its clients sent requests.
// Times in which clients were held do not count, nor does a time between two writes in which the server was impaired.
func (rec *Recorded) Unavailable() time.Duration {
	var longest time.Duration
	for server := range rec.servers {
		var acks []time.Duration
		for _, op := range rec.Ops {
			if op.Server == server && op.Outcome == Acked && changed(op.Response) && op.Return >= rec.started &&
				op.Return <= rec.stopped {
				acks = append(acks, op.Return)
			}
		}
		slices.Sort(acks)
		last := rec.started
		for _, at := range append(acks, rec.stopped) {
			if !rec.wasImpaired(server, last, at) {
				longest = max(longest, at-last-rec.held(last, at))
			}
			last = at
		}
	}
	return longest
}

func (rec *Recorded) wasImpaired(server int, from, to time.Duration) bool {
	return slices.ContainsFunc(rec.impaired, func(s interval) bool {
		return s.server == server && s.from < to && s.to > from
	})
}

// held returns how long clients were held between two times.
func (rec *Recorded) held(from, to time.Duration) time.Duration {
	var sum time.Duration
	for _, s := range rec.holds {
		sum += max(0, min(to, s.to)-max(from, s.from))
	}
	return sum
}
