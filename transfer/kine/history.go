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
	// compactKey names kine's own row. Clients see the row apiserverKey under this name.
	compactKey   = "compact_rev_key"
	apiserverKey = "compact_rev_key_apiserver"
)

// History converts rows to writes. It tracks the newest generation of each key, to compute versions.
type History struct {
	// Writes is the number of writes, and Tombstones the number of tombstones among them.
	Writes, Tombstones int
	// Gaps, Markers and Repeated count the rows that are left out: rows that fill gaps, kine's own rows, and rows that
	// delete a deleted key.
	Gaps, Markers, Repeated int
	// Translated counts the rows of the key that kine stores under another name.
	Translated int
	// Leased counts the writes that have a TTL.
	Leased int

	keys map[string]generation
}

// generation is the newest generation of a key. Its version is 0 if the key is deleted.
type generation struct {
	create  log.Revision
	version int64
	lease   log.LeaseID
}

func newHistory() *History { return &History{keys: map[string]generation{}} }

// Keys returns the number of existing keys.
func (h *History) Keys() (n int) {
	for _, g := range h.keys {
		if g.version > 0 {
			n++
		}
	}
	return n
}

// TTLs returns the distinct TTLs of the existing keys in seconds.
func (h *History) TTLs() []log.LeaseID {
	ttls := map[log.LeaseID]bool{}
	for _, g := range h.keys {
		if g.version > 0 && g.lease != 0 {
			ttls[g.lease] = true
		}
	}
	return slices.Sorted(maps.Keys(ttls))
}

// next returns the write of a row, and false if the row is not a client write.
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
	stored := int64(0) // kine stores the version of this key only
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
		// The first row was compacted, so there was at least one earlier write.
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

// decode returns the version and the client's value from a value of apiserverKey. Early versions of kine stored only
// the version.
func decode(value []byte) (version int64, written []byte) {
	before, after, found := bytes.Cut(value, []byte("|"))
	if !found {
		after = []byte("0")
	}
	version, _ = strconv.ParseInt(string(before), 10, 64)
	return version, after
}
