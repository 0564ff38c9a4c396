package endpoint

import (
	"testing"

	"github.com/stele-db/stele/logstructured"
)

func TestIndexLimit(t *testing.T) {
	for _, test := range []struct{ available, cache, want int64 }{
		{0, 0, 0},
		{4 << 30, -1, 2 << 30},
		{4 << 30, 0, 2<<30 - logstructured.DefaultValueCacheBytes/2},
		{4 << 30, 1 << 30, 3 << 29},
		{256 << 20, 256 << 20, 32 << 20},
	} {
		if got := indexLimit(test.available, test.cache); got != test.want {
			t.Errorf("of %d beside a cache of %d: %d, want %d", test.available, test.cache, got, test.want)
		}
	}
	for _, asked := range []int64{-1, 5} {
		if got := withIndexLimit(logstructured.Options{MaxIndexBytes: asked}).MaxIndexBytes; got != asked {
			t.Errorf("%d became %d", asked, got)
		}
	}
}
