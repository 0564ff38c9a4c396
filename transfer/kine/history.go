package kine

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/transfer/importer"
)

const (
	// compactKey names kine's own row. Clients see the row apiserverKey under this name.
	compactKey   = "compact_rev_key"
	apiserverKey = "compact_rev_key_apiserver"
)

// row is a row of the table.
type row struct {
	id               int64
	name             []byte
	created, deleted bool
	create, previous int64
	lease            int64
	value            []byte
}

// history converts rows to writes. It tracks the newest generation of each key, to compute versions.
type history struct {
	writes int
	// gaps, markers and repeated count the rows that are left out: rows that fill gaps, kine's own rows, and rows that
	// delete a deleted key.
	gaps, markers, repeated int
	// translated counts the rows of the key that kine stores under another name.
	translated int
	// leased counts the writes that have a TTL.
	leased int

	keys map[string]generation
}

// generation is the newest generation of a key. Its version is 0 if the key is deleted.
type generation struct {
	create  log.Revision
	version int64
	lease   log.LeaseID
}

func newHistory() *history { return &history{keys: map[string]generation{}} }

// contents returns the content of the table other than its writes, at the end of the table.
func (h *history) contents(outline importer.Outline) *importer.Contents {
	c := &importer.Contents{Outline: outline, Writes: h.writes}
	ttls := map[log.LeaseID]bool{}
	for _, g := range h.keys {
		if g.version > 0 {
			c.Keys++
			ttls[g.lease] = true
		}
	}
	delete(ttls, 0)
	for _, ttl := range slices.Sorted(maps.Keys(ttls)) {
		c.Leases = append(c.Leases, logstructured.LeaseGrantResult{ID: ttl, TTL: int64(ttl)})
	}
	for _, note := range []struct {
		rows int
		text string
	}{
		{h.gaps, "left out, rows that fill gaps (their revisions count)"},
		{h.markers, "left out, rows of kine's own compaction (the compact revision counts)"},
		{h.repeated, "left out, deletions of what was deleted"},
		{h.translated, "translated, writes of compact_rev_key, which kine keeps as compact_rev_key_apiserver"},
		{h.leased, "writes with a TTL, which begins now"},
	} {
		if note.rows > 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("%s: %d", note.text, note.rows))
		}
	}
	return c
}

// next returns the write of a row, and false if the row is not a client write.
func (h *history) next(r *row) (log.Entry, bool) {
	var none log.Entry
	switch {
	case string(r.name) == compactKey:
		h.markers++
		return none, false
	case r.deleted && string(r.name) == fmt.Sprintf("gap-%d", r.id):
		h.gaps++
		return none, false
	}
	e := log.Entry{Revision: log.Revision(r.id), Key: r.name}
	stored := int64(0) // kine stores the version of this key only
	if string(r.name) == apiserverKey {
		h.translated++
		e.Key = []byte(compactKey)
		stored, r.value = decode(r.value)
	}
	g, known := h.keys[string(e.Key)]
	if r.deleted {
		if known && g.version == 0 {
			h.repeated++
			return none, false
		}
		h.keys[string(e.Key)] = generation{}
		h.writes++
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
	h.writes++
	if r.lease != 0 {
		h.leased++
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
