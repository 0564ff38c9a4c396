package logstructured

import "bytes"

// KeyRange is etcd's notation: End nil or empty is the one key Key; End "\x00" is every key from Key on; otherwise
// Key <= k < End. Key "\x00" with End "\x00" is everything.
type KeyRange struct {
	Key []byte
	End []byte
}

// contains reports whether the range holds key.
func (r KeyRange) contains(key []byte) bool {
	switch {
	case len(r.End) == 0:
		return bytes.Equal(key, r.Key)
	case r.fromKey():
		return bytes.Compare(key, r.Key) >= 0
	default:
		return bytes.Compare(key, r.Key) >= 0 && bytes.Compare(key, r.End) < 0
	}
}

func (r KeyRange) single() bool { return len(r.End) == 0 }

func (r KeyRange) fromKey() bool { return len(r.End) == 1 && r.End[0] == 0 }
