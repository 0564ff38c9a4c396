package endpoint

import (
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/memory"
)

// withIndexLimit replaces a MaxIndexBytes of 0 by a limit derived from the memory of the process. If the memory is not
// known, there is no limit.
func withIndexLimit(opts logstructured.Options) logstructured.Options {
	if opts.MaxIndexBytes == 0 {
		opts.MaxIndexBytes = indexLimit(memory.Available(), opts.ValueCacheBytes)
	}
	return opts
}

// indexLimit returns half of the memory that the value cache leaves. The garbage collector may let the heap grow to
// twice the memory in use before it runs, and requests need memory too.
func indexLimit(available, cache int64) int64 {
	if cache == 0 {
		cache = logstructured.DefaultValueCacheBytes
	}
	return max((available-max(cache, 0))/2, available/8)
}
