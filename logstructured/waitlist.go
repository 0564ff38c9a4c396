package logstructured

import (
	"cmp"

	"github.com/tidwall/btree"
)

// waitlist holds items that wait until a growing number reaches a value.
type waitlist[N cmp.Ordered, T comparable] struct {
	byValue btree.Map[N, map[T]struct{}]
}

func (l *waitlist[N, T]) add(value N, item T) {
	items, ok := l.byValue.Get(value)
	if !ok {
		items = make(map[T]struct{}, 1)
		l.byValue.Set(value, items)
	}
	items[item] = struct{}{}
}

func (l *waitlist[N, T]) remove(value N, item T) {
	items, _ := l.byValue.Get(value)
	delete(items, item)
	if len(items) == 0 {
		l.byValue.Delete(value)
	}
}

// lowest returns the lowest value for which an item waits.
func (l *waitlist[N, T]) lowest() (value N, ok bool) {
	value, _, ok = l.byValue.Min()
	return value, ok
}

// pop removes and returns an item that waits for reached or less.
func (l *waitlist[N, T]) pop(reached N) (item T, ok bool) {
	value, items, ok := l.byValue.Min()
	if !ok || value > reached {
		return item, false
	}
	for item = range items {
		break
	}
	l.remove(value, item)
	return item, true
}
