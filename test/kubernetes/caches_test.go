package kubernetes

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// checkCaches waits until the API server has compared every watch cache with the store once more. It fails the test if
// a cache has ever differed from the store, which makes the API server panic, or if another program has panicked.
func checkCaches(t *testing.T, c *cluster) string {
	before := consistency(t, c)
	await(t, 5*checkPeriod, func(context.Context) error {
		if err := c.api.check(); err != nil {
			return stop{err}
		}
		now := consistency(t, c)
		for resource, passed := range before.passed {
			if now.passed[resource] <= passed {
				return fmt.Errorf("the cache of %s was not compared again", resource)
			}
		}
		return nil
	})
	now := consistency(t, c)
	passed := 0.0
	for _, n := range now.passed {
		passed += n
	}
	if len(now.passed) < 40 || now.passed["/pods"] == 0 || now.passed["/configmaps"] == 0 {
		t.Errorf("%d caches were compared: %v", len(now.passed), now.passed)
	}
	if now.failed > 0 {
		t.Errorf("%v caches differed from the store", now.failed)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.started {
		found, err := p.grep("panic: ", "Observed a panic", "Cache consistency check failed")
		if err != nil {
			t.Error(err)
		}
		for _, line := range found {
			t.Errorf("%s: %s", p.name, line)
		}
	}
	return fmt.Sprintf("%v comparisons of %d caches in %s, none differed, %v without an answer", passed,
		len(now.passed), short(time.Since(c.api.begin)), now.unanswered)
}

// compared holds the comparisons of caches with the store, by resource, and their failures.
type compared struct {
	passed             map[string]float64
	failed, unanswered float64
}

func consistency(t *testing.T, c *cluster) compared {
	t.Helper()
	sum := compared{passed: map[string]float64{}}
	for _, metric := range scrape(t, c.api)["apiserver_storage_consistency_checks_total"].GetMetric() {
		n := metric.GetCounter().GetValue()
		switch label(metric, "status") {
		case "success":
			sum.passed[label(metric, "group")+"/"+label(metric, "resource")] += n
		case "failure":
			sum.failed += n
		default:
			sum.unanswered += n
		}
	}
	return sum
}
