package main

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// mix is a bijection that scatters consecutive numbers (the finalizer of splitmix64), so that keys arrive in no
// order, as the names of pods do, and never twice.
func mix(n uint64) uint64 {
	n ^= n >> 30
	n *= 0xbf58476d1ce4e5b9
	n ^= n >> 27
	n *= 0x94d049bb133111eb
	return n ^ n>>31
}

// appendKey appends the n-th key under prefix to buf: keySize bytes if prefix leaves 16 of them.
func appendKey(buf []byte, prefix string, n uint64) []byte {
	const hex = "0123456789abcdef"
	buf = append(buf, prefix...)
	for range keySize - 16 - len(prefix) {
		buf = append(buf, '-')
	}
	m := mix(n)
	for shift := 60; shift >= 0; shift -= 4 {
		buf = append(buf, hex[m>>shift&15])
	}
	return buf
}

// newValue returns valueSize bytes that do not compress; the first eight can be numbered.
func newValue() []byte {
	random := rand.NewChaCha8([32]byte{1})
	value := make([]byte, valueSize)
	for i := 0; i+8 <= len(value); i += 8 {
		binary.LittleEndian.PutUint64(value[i:], random.Uint64())
	}
	return value
}

func numberValue(value []byte, n uint64) { binary.LittleEndian.PutUint64(value, n) }
func valueNumber(value []byte) uint64    { return binary.LittleEndian.Uint64(value) }

// objectSet is the set of objects that are stored before the reads, the same on every server.
type objectSet struct {
	prefix string
	// keys are sorted.
	keys []string
}

func newObjectSet(prefix string, n int) objectSet {
	set := objectSet{prefix: prefix, keys: make([]string, n)}
	for i := range set.keys {
		set.keys[i] = string(appendKey(nil, prefix, uint64(i)))
	}
	slices.Sort(set.keys)
	return set
}
