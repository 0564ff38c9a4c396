package main

import (
	"slices"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for _, c := range []struct {
		sorted []int
		p      float64
		want   int
	}{
		{nil, 50, 0},
		{[]int{7}, 0, 7},
		{[]int{7}, 99, 7},
		{[]int{1, 2}, 50, 1},
		{[]int{1, 2, 3}, 50, 2},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 100, 100},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("percentile(%d numbers, %v) = %d, want %d", len(c.sorted), c.p, got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3}} {
		given := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
		if !slices.Equal(given, c.values) {
			t.Errorf("median changed its argument from %v to %v", given, c.values)
		}
	}
}

func TestPairedRatio(t *testing.T) {
	// The machine was half as fast in the second round, which does not affect the pairs.
	got, ok := pairedRatio([]float64{200, 100, 240}, []float64{100, 50, 80})
	if want := (ratio{Median: 2, Min: 2, Max: 3}); !ok || got != want {
		t.Errorf("got %+v, %t, want %+v", got, ok, want)
	}
	// A failed round is left out, with its partner.
	got, ok = pairedRatio([]float64{0, 100}, []float64{1, 50})
	if want := (ratio{Median: 2, Min: 2, Max: 2}); !ok || got != want {
		t.Errorf("got %+v, %t, want %+v", got, ok, want)
	}
	if _, ok := pairedRatio([]float64{0, 1}, []float64{1, 0}); ok {
		t.Error("there is a ratio although no pair of rounds succeeded")
	}
}

func TestMerge(t *testing.T) {
	got := merge([][]time.Duration{{3, 1}, nil, {2}})
	if want := []time.Duration{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestKeysAreUniqueAndOfOneSize(t *testing.T) {
	set := newObjectSet("/registry/objects/", 5000)
	for i, key := range set.keys {
		if len(key) != keySize {
			t.Fatalf("key %q has %d bytes", key, len(key))
		}
		if i > 0 && set.keys[i-1] >= key {
			t.Fatalf("%q is not above %q", key, set.keys[i-1])
		}
	}
}
