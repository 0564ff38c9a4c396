package kine

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// compactKey is kine's own row, and for its clients the name of apiserverKey.
	compactKey   = "compact_rev_key"
	apiserverKey = "compact_rev_key_apiserver"
)

// History turns rows into writes: it knows the newest generation of each key, from which a version is counted.
type History struct {
	// Writes, and what of them are tombstones.
	Writes, Tombstones int
	// Gaps are rows that fill gaps, Markers kine's own, Repeated those that delete what is deleted: all of them are
	// left out.
	Gaps, Markers, Repeated int
	// Translated are the rows of the key that kine keeps under another name.
	Translated int
	// Leased are the writes that have a TTL.
	Leased int

	keys map[string]generation
}

// generation is the newest of a key; its version is 0 when it has ended.
type generation struct {
	create  log.Revision
	version int64
	lease   log.LeaseID
}

func newHistory() *History { return &History{keys: map[string]generation{}} }

// Keys is the number of keys that live.
func (h *History) Keys() (n int) {
	for _, g := range h.keys {
		if g.version > 0 {
			n++
		}
	}
	return n
}

// TTLs are those of the keys that live, in seconds, each once.
func (h *History) TTLs() []log.LeaseID {
	ttls := map[log.LeaseID]bool{}
	for _, g := range h.keys {
		if g.version > 0 && g.lease != 0 {
			ttls[g.lease] = true
		}
	}
	return slices.Sorted(maps.Keys(ttls))
}

// next returns the write of a row, if it is one.
func (h *History) next(r *row) (log.Entry, bool) {
	var none log.Entry
	switch {
	case string(r.name) == compactKey:
		h.Markers++
		return none, false
	case r.deleted && string(r.name) == fmt.Sprintf("gap-%d", r.id):
		h.Gaps++
		return none, false
	}
	e := log.Entry{Revision: log.Revision(r.id), Key: r.name}
	stored := int64(0) // the version, of the one key of which kine keeps it
	if string(r.name) == apiserverKey {
		h.Translated++
		e.Key = []byte(compactKey)
		stored, r.value = decode(r.value)
	}
	g, known := h.keys[string(e.Key)]
	if r.deleted {
		if known && g.version == 0 {
			h.Repeated++
			return none, false
		}
		h.keys[string(e.Key)] = generation{}
		h.Writes++
		h.Tombstones++
		e.Kind = log.KindTombstone
		return e, true
	}
	switch create := log.Revision(r.create); {
	case g.version > 0:
		g.version++
	case !known && !r.created && create > 0 && create < e.Revision:
		// The beginning was compacted. One write at least came before.
		g = generation{create: create, version: max(2, stored)}
	default:
		g = generation{create: e.Revision, version: 1}
	}
	g.lease = log.LeaseID(r.lease)
	h.keys[string(e.Key)] = g
	h.Writes++
	if r.lease != 0 {
		h.Leased++
	}
	e.Kind, e.Value, e.Lease = log.KindPut, r.value, g.lease
	e.CreateRevision, e.Version = g.create, g.version
	return e, true
}

// decode takes the version and what a client wrote out of a value of apiserverKey. Early versions of kine stored the
// version alone.
func decode(value []byte) (version int64, written []byte) {
	before, after, found := bytes.Cut(value, []byte("|"))
	if !found {
		after = []byte("0")
	}
	version, _ = strconv.ParseInt(string(before), 10, 64)
	return version, after
}
