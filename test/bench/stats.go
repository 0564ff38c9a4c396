package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// percentile returns the p-th percentile (0 to 100) of sorted by the nearest rank, and the zero value
// of an empty slice.
func percentile[T any](sorted []T, p float64) T {
	var zero T
	if len(sorted) == 0 {
		return zero
	}
	rank := int(math.Ceil(p/100*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// median returns the middle of values, the mean of the two middle ones if their number is even, and 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// ratio compares two servers by pairs of their rounds: a disturbance of the machine that is longer than a round affects
// both.
type ratio struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// pairedRatio divides mine by theirs, round by round. Rounds that either of them lacks (0) do not count; it returns
// false if none is left.
func pairedRatio(mine, theirs []float64) (ratio, bool) {
	var ratios []float64
	for i := range min(len(mine), len(theirs)) {
		if mine[i] > 0 && theirs[i] > 0 {
			ratios = append(ratios, mine[i]/theirs[i])
		}
	}
	if len(ratios) == 0 {
		return ratio{}, false
	}
	return ratio{Median: median(ratios), Min: slices.Min(ratios), Max: slices.Max(ratios)}, true
}

// merge joins the samples of all workers and sorts them.
func merge[T cmp.Ordered](parts [][]T) []T {
	all := slices.Concat(parts...)
	slices.Sort(all)
	return all
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
