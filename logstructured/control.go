package logstructured

import (
	"cmp"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/tidwall/btree"

	"github.com/stele-db/stele/logstructured/log"
)

// control is the part of a snapshot that is not keys: leases and records. Its trees are copied on write, and nil as
// long as they are empty.
type control struct {
	mode LeaseMode
	// leases holds the leases of LeaseModeEtcd, by ID, and attached holds the keys of each.
	leases   *btree.BTreeG[*lease]
	attached *btree.BTreeG[attachment]
	records  *btree.BTreeG[*record]
	// recorded is the position of the newest entry that set or removed a record.
	recorded log.Position
	// edition identifies one state of all records. Each such entry sets a new one, unique in this process. A position
	// would not do: after the database went back in time, it may belong to another state.
	edition uint64
}

func (c *control) copyControl() control {
	copied := *c
	copied.leases, copied.attached, copied.records = copyTree(c.leases), copyTree(c.attached), copyTree(c.records)
	return copied
}

func copyTree[T any](t *btree.BTreeG[T]) *btree.BTreeG[T] {
	if t == nil {
		return nil
	}
	return t.Copy()
}

// setIn adds an item to a tree, and creates the tree if it is nil.
func setIn[T any](t **btree.BTreeG[T], less func(a, b T) bool, item T) {
	if *t == nil {
		*t = btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
	}
	(*t).Set(item)
}

// record is a small piece of the store's own state, under a name. Older records of the same name are garbage in the
// log.
type record struct {
	name     string
	value    []byte
	position log.Position
}

func lessRecord(a, b *record) bool { return a.name < b.name }

// Records are small pieces of state besides the keys, such as users and alarms, at one moment. They are entries of the
// log like everything else: all replicas have them, in the same order relative to the writes.
type Records struct{ c *control }

// Get returns the record of that name, and reports whether there is one. The caller must not modify it.
func (r Records) Get(name string) ([]byte, bool) {
	if r.c.records == nil {
		return nil, false
	}
	found, ok := r.c.records.Get(&record{name: name})
	if !ok {
		return nil, false
	}
	return found.value, true
}

// Ascend calls fn with all records whose names begin with prefix, in the order of their names, until it returns false.
func (r Records) Ascend(prefix string, fn func(name string, value []byte) bool) {
	if r.c.records == nil {
		return
	}
	r.c.records.Ascend(&record{name: prefix}, func(rec *record) bool {
		return strings.HasPrefix(rec.name, prefix) && fn(rec.name, rec.value)
	})
}

// Version grows with every change of a record.
func (r Records) Version() log.Position { return r.c.recorded }

// editions is the newest edition of all stores.
var editions atomic.Uint64

// Derived caches a value that is derived from the records, until they change. It is safe for concurrent use.
type Derived[T any] struct {
	derive func(Records) T
	last   atomic.Pointer[derivation[T]]
}

type derivation[T any] struct {
	edition uint64
	value   T
}

// Derive returns a Derived that computes its value by derive.
func Derive[T any](derive func(Records) T) *Derived[T] { return &Derived[T]{derive: derive} }

// Of returns the value derived from r.
func (d *Derived[T]) Of(r Records) T {
	last := d.last.Load()
	if last == nil || last.edition != r.c.edition {
		last = &derivation[T]{r.c.edition, d.derive(r)}
		d.last.Store(last)
	}
	return last.value
}

func recordEntry(revision Revision, name string, value []byte) log.Entry {
	return log.Entry{Kind: log.KindRecord, Revision: revision, Key: []byte(name), Value: value, Version: 1}
}

// RecordChange sets a record, or removes it.
type RecordChange struct {
	Name   string
	Value  []byte
	Remove bool
}

// lease is a lease of LeaseModeEtcd. [expiry] holds its deadline.
type lease struct {
	id  LeaseID
	ttl int64 // seconds
	// granted is the position of the entry that granted it.
	granted log.Position
}

func lessLease(a, b *lease) bool { return a.id < b.id }

// attachment is a key that is attached to a lease.
type attachment struct {
	lease LeaseID
	key   string
}

func lessAttachment(a, b attachment) bool {
	return cmp.Or(cmp.Compare(a.lease, b.lease), strings.Compare(a.key, b.key)) < 0
}

// lease returns the lease of LeaseModeEtcd with that ID, or nil.
func (c *control) lease(id LeaseID) *lease {
	if c.leases == nil {
		return nil
	}
	l, _ := c.leases.Get(&lease{id: id})
	return l
}

// keysOf returns the keys of a lease in key order.
func (c *control) keysOf(id LeaseID) (keys []string) {
	if c.attached == nil {
		return nil
	}
	c.attached.Ascend(attachment{lease: id}, func(a attachment) bool {
		if a.lease != id {
			return false
		}
		keys = append(keys, a.key)
		return true
	})
	return keys
}

// keyString returns a key of the index as a string, without a copy: the key never changes.
func keyString(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }

func (c *control) leaseIDs() (ids []LeaseID) {
	if c.leases == nil {
		return nil
	}
	c.leases.Scan(func(l *lease) bool {
		ids = append(ids, l.id)
		return true
	})
	return ids
}
