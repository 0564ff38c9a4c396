package kine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stele-db/stele/logstructured/log"
)

// TestHistory turns rows into writes, each of which is described as kind, key, value, revision, create revision,
// version and lease.
func TestHistory(t *testing.T) {
	for name, test := range map[string]struct {
		rows []row
		want []string
	}{
		"a generation from its beginning": {
			[]row{{id: 2, name: []byte("a"), created: true, value: []byte("1")},
				{id: 3, name: []byte("a"), create: 2, previous: 2, value: []byte("2"), lease: 9}},
			[]string{`put "a"="1" 2 2 1 0`, `put "a"="2" 3 2 2 9`},
		},
		"one of which the beginning was compacted": {
			[]row{{id: 7, name: []byte("a"), create: 2, previous: 5},
				{id: 8, name: []byte("a"), create: 2, previous: 7}},
			[]string{`put "a"="" 7 2 2 0`, `put "a"="" 8 2 3 0`},
		},
		"two generations": {
			[]row{{id: 2, name: []byte("a"), created: true},
				{id: 3, name: []byte("a"), deleted: true, create: 2, previous: 2, lease: 5},
				{id: 4, name: []byte("a"), created: true, previous: 3}},
			[]string{`put "a"="" 2 2 1 0`, `delete "a"="" 3 0 0 0`, `put "a"="" 4 4 1 0`},
		},
		"an update of what is deleted": {
			[]row{{id: 2, name: []byte("a"), deleted: true}, {id: 4, name: []byte("a"), create: 1, previous: 2}},
			[]string{`delete "a"="" 2 0 0 0`, `put "a"="" 4 4 1 0`},
		},
		"a deletion of what is deleted": {
			[]row{{id: 2, name: []byte("a"), deleted: true}, {id: 4, name: []byte("a"), deleted: true}},
			[]string{`delete "a"="" 2 0 0 0`},
		},
		"an update without a create revision": {
			[]row{{id: 4, name: []byte("a"), previous: 2}},
			[]string{`put "a"="" 4 4 1 0`},
		},
		"kine's own rows": {
			[]row{{id: 1, name: []byte("compact_rev_key"), created: true, previous: 3},
				{id: 5, name: []byte("gap-5"), deleted: true}},
			nil,
		},
		"what only looks like kine's": {
			[]row{{id: 5, name: []byte("gap-6"), deleted: true}, {id: 6, name: []byte("gap-6"), created: true},
				{id: 7, name: []byte("compact_rev_key2"), created: true}},
			[]string{`delete "gap-6"="" 5 0 0 0`, `put "gap-6"="" 6 6 1 0`, `put "compact_rev_key2"="" 7 7 1 0`},
		},
		"the key that kine keeps under another name": {
			[]row{{id: 2, name: []byte("compact_rev_key_apiserver"), created: true, value: []byte("1|77")},
				{id: 3, name: []byte("compact_rev_key_apiserver"), create: 2, previous: 2, value: []byte("2|78")}},
			[]string{`put "compact_rev_key"="77" 2 2 1 0`, `put "compact_rev_key"="78" 3 2 2 0`},
		},
		"it, when its beginning was compacted": {
			[]row{{id: 30, name: []byte("compact_rev_key_apiserver"), create: 2, previous: 20, value: []byte("17|99")},
				{id: 31, name: []byte("compact_rev_key_apiserver"), create: 2, previous: 30, value: []byte("18|100")}},
			[]string{`put "compact_rev_key"="99" 30 2 17 0`, `put "compact_rev_key"="100" 31 2 18 0`},
		},
		"it, of an early version": {
			[]row{{id: 30, name: []byte("compact_rev_key_apiserver"), create: 2, previous: 20, value: []byte("17")}},
			[]string{`put "compact_rev_key"="0" 30 2 17 0`},
		},
	} {
		h := newHistory()
		var got []string
		for _, r := range test.rows {
			if e, ok := h.next(&r); ok {
				kind := "put"
				if e.Kind == log.KindTombstone {
					kind = "delete"
				}
				got = append(got, fmt.Sprintf("%s %q=%q %d %d %d %d",
					kind, e.Key, e.Value, e.Revision, e.CreateRevision, e.Version, e.Lease))
			}
		}
		if strings.Join(got, "\n") != strings.Join(test.want, "\n") {
			t.Errorf("%s:\n%s\nwant:\n%s", name, strings.Join(got, "\n"), strings.Join(test.want, "\n"))
		}
	}
}
