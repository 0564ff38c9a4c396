package logstructured

import (
	"cmp"
	"slices"
	"sync"

	"github.com/stele-db/stele/logstructured/log"
)

// maxAppliedHeads is how many of the newest heads are remembered: more than can be appended while the database answers
// one query.
const maxAppliedHeads = 1024

// applied makes readers wait until the state has reached a head. A position alone is not enough: after the database
// went back in time, another entry may have the same position.
type applied struct {
	mu sync.Mutex
	// heads holds the heads after the newest appends that were applied, in order.
	heads []log.Head
	// moved is closed when heads changes; it is nil while no reader waits.
	moved chan struct{}
}

// advance adds the heads after appends that have been applied.
func (a *applied) advance(heads ...log.Head) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heads = append(a.heads, heads...)
	if n := len(a.heads); n > 2*maxAppliedHeads {
		a.heads = append(a.heads[:0], a.heads[n-maxAppliedHeads:]...)
	}
	a.wake()
}

// restart forgets all heads but this one, because the state was rebuilt.
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

// newest returns the head of the applied state.
func (a *applied) newest() log.Head {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.heads[len(a.heads)-1]
}

// standing is the relation of a head to the applied state.
type standing uint8

const (
	reached standing = iota
	// ahead means that the head has yet to be applied.
	ahead
	// foreign means that the head was never applied and never will be, or was applied too long ago to be remembered.
	foreign
)

// standing classifies head. If head is ahead, it also returns a channel that is closed when to call standing again.
func (a *applied) standing(head log.Head) (standing, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if head.Position > a.heads[len(a.heads)-1].Position {
		if a.moved == nil {
			a.moved = make(chan struct{})
		}
		return ahead, a.moved
	}
	i, found := slices.BinarySearchFunc(a.heads, head, func(a, b log.Head) int {
		return cmp.Compare(a.Position, b.Position)
	})
	if found && a.heads[i].ID == head.ID {
		return reached, nil
	}
	return foreign, nil
}
