package main

import (
	"fmt"
	"math"
	"slices"
)

// aspect is a figure by which two builds of Stele are compared.
type aspect struct {
	name string
	// cost returns the figure of a slot, where less is better; 0 means none.
	cost func(row, result) float64
	// tolerance is the median change that is not reported, as a share.
	tolerance float64
}

var aspects = []aspect{
	{"time per operation", func(of row, r result) float64 {
		if of.Paced || r.Rate == 0 {
			return 0
		}
		return 1 / r.Rate
	}, 0.05},
	{"p99", func(_ row, r result) float64 { return r.P99 }, 0.20},
	{"watch p99", func(_ row, r result) float64 { return r.WatchP99 }, 0.20},
	{"server CPU per operation", func(_ row, r result) float64 { return r.ServerCPU }, 0.05},
	{"bytes per write", func(_ row, r result) float64 { return r.DiskBytes }, 0.10},
}

// leastPairs is the number of pairs of rounds that a verdict needs: with fewer, all could be on one side by chance.
const leastPairs = 7

// significance bounds the probability of the verdict if both builds were the same.
const significance = 0.01

// verdict is the result of the pairs of rounds for one aspect. Ratios are the costs of the new build divided by those
// of the base: above 1 is worse.
type verdict struct {
	median, low, high float64 // low and high are the quartiles
	pairs             int
	// worse and better are clear changes: at most one of them is true.
	worse, better bool
}

// judge decides by the pairs: nearly all of them must be on one side (a sign test), and the median must exceed the
// tolerance. A machine that is busy for some rounds makes the pairs differ, which prevents a verdict; it does not move
// them to one side.
func judge(ratios []float64, tolerance float64) verdict {
	sorted := slices.Clone(ratios)
	slices.Sort(sorted)
	v := verdict{pairs: len(sorted), median: median(sorted), low: percentile(sorted, 25), high: percentile(sorted, 75)}
	if v.pairs < leastPairs {
		return v
	}
	above, below := 0, 0
	for _, r := range sorted {
		switch {
		case r > 1:
			above++
		case r < 1:
			below++
		}
	}
	v.worse = v.median > 1+tolerance && signTest(above, above+below) <= significance
	v.better = v.median < 1/(1+tolerance) && signTest(below, above+below) <= significance
	return v
}

// signTest returns the probability of at least k heads in n throws of a fair coin.
func signTest(k, n int) float64 {
	sum, choose := 0.0, 1.0 // n over i
	for i := 0; i <= n; i++ {
		if i >= k {
			sum += choose
		}
		choose *= float64(n-i) / float64(i+1)
	}
	return sum / math.Pow(2, float64(n))
}

// change is a verdict on one workload.
type change struct {
	workload, server, aspect string
	verdict
}

func (c change) String() string {
	word := "no clear change"
	switch {
	case c.worse:
		word = "WORSE"
	case c.better:
		word = "better"
	}
	return fmt.Sprintf("%-15s  %-14s  %-14s  %-24s  %+6.1f %%  (half of %d pairs between %+.1f and %+.1f)", word,
		c.server, c.workload, c.aspect,
		100*(c.median-1), c.pairs, 100*(c.low-1), 100*(c.high-1))
}

// changes compares each Stele of r with its baseline.
func (r *report) changes() []change {
	var out []change
	for _, mine := range r.Rows {
		i := slices.IndexFunc(r.Rows, func(other *row) bool {
			return other.Workload == mine.Workload && other.Server == mine.Server+baselineSuffix
		})
		if i < 0 {
			continue
		}
		for _, a := range aspects {
			var ratios []float64
			base := r.Rows[i]
			for n := range min(len(mine.Rounds), len(base.Rounds)) {
				now, then := a.cost(*mine, mine.Rounds[n]), a.cost(*base, base.Rounds[n])
				if now > 0 && then > 0 {
					ratios = append(ratios, now/then)
				}
			}
			if len(ratios) > 0 {
				out = append(out, change{mine.Workload, mine.Server, a.name, judge(ratios, a.tolerance)})
			}
		}
	}
	return out
}

// onlyTwice returns the changes of again that are worse in both measurements: an aspect is rarely worse twice by
// chance.
func onlyTwice(first, again []change) []change {
	return slices.DeleteFunc(again, func(c change) bool {
		return !c.worse || !slices.ContainsFunc(first, func(f change) bool {
			return f.worse && f.workload == c.workload && f.server == c.server && f.aspect == c.aspect
		})
	})
}
