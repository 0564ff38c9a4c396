package logstructured

import (
	"cmp"
	"slices"
	"sync"

	"github.com/stele-db/stele/logstructured/log"
)

// maxAppliedHeads is how many of the newest heads are remembered: more than can be appended while the database answers
// one question.
const maxAppliedHeads = 1024

// applied lets readers wait until the state has reached a head. A number would not do: after the database went back in
// time the same position is another entry's.
type applied struct {
	mu sync.Mutex
	// heads are the ends of the newest appends that were applied, in order.
	heads []log.Head
	// moved is closed at the next move; nil while nobody waits.
	moved chan struct{}
}

// advance adds the ends of appends that have been applied.
func (a *applied) advance(heads ...log.Head) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heads = append(a.heads, heads...)
	if n := len(a.heads); n > 2*maxAppliedHeads {
		a.heads = append(a.heads[:0], a.heads[n-maxAppliedHeads:]...)
	}
	a.wake()
}

// restart forgets all heads but this one: the state was built anew.
func (a *applied) restart(head log.Head) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heads = append(a.heads[:0], head)
	a.wake()
}

func (a *applied) wake() {
	if a.moved != nil {
		close(a.moved)
		a.moved = nil
	}
}

// newest is the head of what is applied.
func (a *applied) newest() log.Head {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.heads[len(a.heads)-1]
}

// standing is how a head relates to what has been applied.
type standing uint8

const (
	reached standing = iota
	// ahead has yet to be applied.
	ahead
	// foreign was not applied and never will be, or was so long ago that it is forgotten.
	foreign
)

// standing places head. For one that is ahead it also returns a channel that is closed when to look again.
func (a *applied) standing(head log.Head) (standing, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if head.Position > a.heads[len(a.heads)-1].Position {
		if a.moved == nil {
			a.moved = make(chan struct{})
		}
		return ahead, a.moved
	}
	i, found := slices.BinarySearchFunc(a.heads, head, func(a, b log.Head) int { return cmp.Compare(a.Position, b.Position) })
	if found && a.heads[i].ID == head.ID {
		return reached, nil
	}
	return foreign, nil
}
