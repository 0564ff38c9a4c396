package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// term is the time in which a candidate led. It ends when the candidate reports its end or, if the candidate was
// killed, with its last change.
type term struct {
	id         string
	begin, end time.Time
}

// check returns an error if two candidates led at the same time, by the clock of the machine and by the revisions of
// their writes.
func check(history []event) error {
	var terms []*term
	current := map[string]*term{}
	var writes []event
	for _, e := range history {
		switch e.Event {
		case leading:
			current[e.ID] = &term{id: e.ID, begin: e.Time, end: e.Time}
			terms = append(terms, current[e.ID])
		case wrote:
			writes = append(writes, e)
			fallthrough
		case lost:
			if current[e.ID] == nil {
				return fmt.Errorf("%s says %q and did not lead", e.ID, e.Event)
			}
			current[e.ID].end = e.Time
			if e.Event == lost {
				delete(current, e.ID)
			}
		}
	}
	for i, next := range terms[min(1, len(terms)):] {
		if before := terms[i]; next.begin.Before(before.end) {
			return fmt.Errorf("%s led from %v, and %s until %v", next.id, next.begin, before.id, before.end)
		}
	}
	return checkWrites(writes)
}

// checkWrites returns an error unless each leader's changes follow all changes of previous leaders and none is lost.
func checkWrites(writes []event) error {
	for i, next := range byRevision(writes)[min(1, len(writes)):] {
		if before := writes[i]; next.Epoch < before.Epoch || next.Epoch == before.Epoch && next.ID != before.ID {
			return fmt.Errorf("%+v is followed by %+v, of a leader before it", before, next)
		}
	}
	return checkSequence(writes)
}

// byRevision sorts writes in place and returns them.
func byRevision(writes []event) []event {
	slices.SortStableFunc(writes, func(a, b event) int { return int(a.Revision - b.Revision) })
	return writes
}

// checkSequence returns an error unless each change was made to the result of the previous one.
func checkSequence(writes []event) error {
	for i, next := range byRevision(writes)[min(1, len(writes)):] {
		before := writes[i]
		switch {
		case next.Revision == before.Revision:
			return fmt.Errorf("two changes have one revision: %+v and %+v", before, next)
		case next.Sequence <= before.Sequence:
			return fmt.Errorf("%+v is followed by %+v: a change is lost", before, next)
		case next.Sequence > before.Sequence+1 && next.ID == before.ID && next.Unknown == before.Unknown:
			return fmt.Errorf("%+v is followed by %+v: there is a change that nobody made", before, next)
		}
	}
	return nil
}

func TestCheck(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	lead := func(id string, seconds int) event { return event{Time: at(seconds), ID: id, Event: leading} }
	end := func(id string, seconds int) event { return event{Time: at(seconds), ID: id, Event: lost} }
	write := func(id string, seconds int, epoch, sequence, revision int64) event {
		return event{Time: at(seconds), ID: id, Event: wrote, Epoch: epoch, Sequence: sequence, Revision: revision}
	}
	a := []event{lead("a", 1), write("a", 2, 1, 1, 10), write("a", 3, 1, 2, 11)}
	b := []event{lead("b", 5), write("b", 6, 2, 3, 20)}
	for name, test := range map[string]struct {
		history []event
		ok      bool
	}{
		"nothing":               {nil, true},
		"one after another":     {slices.Concat(a, b), true},
		"the first one ended":   {slices.Concat(a, []event{end("a", 4)}, b), true},
		"both at once":          {slices.Concat(a, b, []event{end("a", 7)}), false},
		"a late change":         {slices.Concat(a, b, []event{write("a", 7, 1, 3, 19)}), false},
		"a change out of order": {slices.Concat(a, []event{lead("b", 5), write("b", 6, 2, 3, 9)}), false},
		"one epoch":             {slices.Concat(a, []event{lead("b", 5), write("b", 6, 1, 3, 20)}), false},
		"a lost change":         {slices.Concat(a, []event{lead("b", 5), write("b", 6, 2, 2, 20)}), false},
		"an additional change":  {slices.Concat(a, []event{write("a", 4, 1, 5, 20)}), false},
	} {
		if err := check(test.history); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
