package endpoint

import (
	"context"
	"sync"
)

// serving are the datastores that this process has started with Listen. The process is what they have in common: two
// calls know nothing of each other, and the second may follow on the end of the first one's context, before the first
// has let its address go.
var serving struct {
	sync.Mutex
	all map[*instance]struct{}
}

type instance struct {
	// ending is closed when it is to stop, gone when it has stopped.
	ending <-chan struct{}
	gone   chan struct{}
}

// begin notes a datastore that stops after ctx; end is called when it has stopped.
func begin(ctx context.Context) (end func()) {
	i := &instance{ending: ctx.Done(), gone: make(chan struct{})}
	serving.Lock()
	defer serving.Unlock()
	if serving.all == nil {
		serving.all = map[*instance]struct{}{}
	}
	serving.all[i] = struct{}{}
	return func() {
		serving.Lock()
		defer serving.Unlock()
		delete(serving.all, i)
		close(i.gone)
	}
}

// awaitStopping returns when the datastores that are stopping have stopped, or ctx has ended. It tells whether there
// was one.
func awaitStopping(ctx context.Context) bool {
	var stopping []*instance
	serving.Lock()
	for i := range serving.all {
		select {
		case <-i.ending:
			stopping = append(stopping, i)
		default:
		}
	}
	serving.Unlock()
	for _, i := range stopping {
		select {
		case <-i.gone:
		case <-ctx.Done():
			return true
		}
	}
	return len(stopping) > 0
}
