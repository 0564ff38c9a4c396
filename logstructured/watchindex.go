package logstructured

import (
	"bytes"
	"math/rand/v2"
)

// watchIndex finds the watchers that a row concerns. It holds the watchers of one filter.
type watchIndex struct {
	// keys holds the groups of single keys, and ranges the groups of ranges.
	keys   map[string]*watchGroup
	ranges rangeTree
}

// watchGroup holds the watchers of one range, because many watchers often watch the same one. The groups of ranges are
// the nodes of a [rangeTree].
type watchGroup struct {
	KeyRange
	// members is the number of the group's watchers. idle holds the watchers that wait for the next row in the range.
	members int
	idle    []*watcher

	left, right, parent *watchGroup
	priority            uint32
	// furthest is the group whose range ends last among the groups in the subtree that have idle watchers. It is nil if
	// there is none.
	furthest *watchGroup
}

// join adds a member to the group of range r, which it creates if necessary.
func (x *watchIndex) join(r KeyRange) *watchGroup {
	var g *watchGroup
	if r.Single() {
		g = x.keys[string(r.Key)]
	} else {
		g = x.ranges.find(r)
	}
	if g == nil {
		g = &watchGroup{KeyRange: r}
		if !r.Single() {
			x.ranges.insert(g)
		} else {
			if x.keys == nil {
				x.keys = make(map[string]*watchGroup)
			}
			x.keys[string(r.Key)] = g
		}
	}
	g.members++
	return g
}

// leave removes a member that is not idle.
func (x *watchIndex) leave(g *watchGroup) {
	if g.members--; g.members > 0 {
		return
	}
	if g.Single() {
		delete(x.keys, string(g.Key))
	} else {
		x.ranges.remove(g)
	}
}

// push makes w idle.
func (n *watchGroup) push(w *watcher) {
	w.slot = len(n.idle)
	if n.idle = append(n.idle, w); w.slot == 0 {
		n.refresh()
	}
}

// pull removes w from the idle watchers.
func (n *watchGroup) pull(w *watcher) {
	last := len(n.idle) - 1
	n.idle[w.slot] = n.idle[last]
	n.idle[w.slot].slot = w.slot
	n.idle[last] = nil
	if n.idle = n.idle[:last]; last == 0 {
		n.refresh()
	}
}

// match appends to found the groups with idle watchers whose range holds key, until found is full. It also returns the
// number of groups that it visited.
func (x *watchIndex) match(key []byte, found []*watchGroup) (_ []*watchGroup, visited int) {
	if g := x.keys[string(key)]; g != nil && len(g.idle) > 0 {
		found = append(found, g)
	}
	return x.ranges.root.stab(key, found)
}

// rangeTree is an interval tree: a binary search tree of ranges, in which each node knows how far its subtree reaches.
// Only groups with idle watchers count for that, so that a search does not visit ranges without them. Random priorities
// keep the tree balanced whatever the order of insertions (a treap).
type rangeTree struct{ root *watchGroup }

// find returns the group of range r, or nil.
func (t *rangeTree) find(r KeyRange) *watchGroup {
	n := t.root
	for n != nil {
		switch c := r.Compare(n.KeyRange); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n
		}
	}
	return nil
}

// insert adds g, whose range is not in the tree.
func (t *rangeTree) insert(g *watchGroup) {
	g.priority = rand.Uint32()
	g.update()
	before, after := split(t.root, g.KeyRange)
	t.root = concat(concat(before, g), after)
	t.root.parent = nil
}

func (t *rangeTree) remove(g *watchGroup) {
	rest := concat(g.left, g.right)
	if rest != nil {
		rest.parent = g.parent
	}
	switch parent := g.parent; {
	case parent == nil:
		t.root = rest
	case parent.left == g:
		parent.left = rest
		parent.refresh()
	default:
		parent.right = rest
		parent.refresh()
	}
}

// split divides a tree into the groups before r and those from r on.
func split(n *watchGroup, r KeyRange) (before, after *watchGroup) {
	if n == nil {
		return nil, nil
	}
	if n.Compare(r) < 0 {
		n.right, after = split(n.right, r)
		n.update()
		return n, after
	}
	before, n.left = split(n.left, r)
	n.update()
	return before, n
}

// concat joins two trees into one. All groups of a come before those of b.
func concat(a, b *watchGroup) *watchGroup {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority > b.priority:
		a.right = concat(a.right, b)
		a.update()
		return a
	default:
		b.left = concat(a, b.left)
		b.update()
		return b
	}
}

// update computes n.furthest from n and its children, and sets their parent.
func (n *watchGroup) update() {
	n.furthest = nil
	if len(n.idle) > 0 {
		n.furthest = n
	}
	if n.left != nil {
		n.left.parent = n
		n.furthest = further(n.furthest, n.left.furthest)
	}
	if n.right != nil {
		n.right.parent = n
		n.furthest = further(n.furthest, n.right.furthest)
	}
}

// refresh updates n and its ancestors, up to the first one that does not change.
func (n *watchGroup) refresh() {
	for ; n != nil; n = n.parent {
		before := n.furthest
		if n.update(); n.furthest == before {
			return
		}
	}
}

// further returns the group whose range ends later.
func further(a, b *watchGroup) *watchGroup {
	switch {
	case b == nil || a != nil && a.FromKey():
		return a
	case a == nil || b.FromKey() || bytes.Compare(a.End, b.End) < 0:
		return b
	}
	return a
}

// reaches reports whether the range ends after key.
func (n *watchGroup) reaches(key []byte) bool {
	return n != nil && (n.FromKey() || bytes.Compare(key, n.End) < 0)
}

// stab appends to found the groups of the subtree with idle watchers whose range holds key, until found is full. It
// takes O(log n) for each. It also returns the number of groups that it visited.
func (n *watchGroup) stab(key []byte, found []*watchGroup) (_ []*watchGroup, visited int) {
	if n == nil || !n.furthest.reaches(key) {
		return found, 0
	}
	found, visited = n.left.stab(key, found)
	visited++
	if bytes.Compare(n.Key, key) > 0 || len(found) == cap(found) {
		return found, visited
	}
	if len(n.idle) > 0 && n.reaches(key) {
		if found = append(found, n); len(found) == cap(found) {
			return found, visited
		}
	}
	found, right := n.right.stab(key, found)
	return found, visited + right
}
