package endpoint

import (
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/memory"
)

// withIndexLimit replaces a MaxIndexBytes of 0 by what the memory of the process allows. Where the system does not say
// there is no limit.
func withIndexLimit(opts logstructured.Options) logstructured.Options {
	if opts.MaxIndexBytes == 0 {
		opts.MaxIndexBytes = indexLimit(memory.Available(), opts.ValueCacheBytes)
	}
	return opts
}

// indexLimit is half of the memory that a cache of values leaves. The garbage collector may let the heap grow to twice
// what is in use before it runs, and requests need memory, too.
func indexLimit(available, cache int64) int64 {
	if cache == 0 {
		cache = logstructured.DefaultValueCacheBytes
	}
	return max((available-max(cache, 0))/2, available/8)
}
