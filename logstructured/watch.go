package logstructured

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// WatchID identifies a watcher on its stream.
type WatchID int64

// InvalidWatchID is the ID of responses that belong to no watcher: failed creations and answers to RequestProgress.
const InvalidWatchID WatchID = -1

// WatchRequest creates a watcher.
type WatchRequest struct {
	// KeyRange as in a range; but an empty Key is "\x00".
	KeyRange
	// ID is chosen by the client, or 0 for the next free one.
	ID WatchID
	// StartRevision is the first revision of interest; 0 is the one after the current.
	StartRevision Revision
	PrevKV        bool
	// ProgressNotify asks for periodic notifications while there are no events.
	ProgressNotify bool
	// NoPut and NoDelete drop the events of that type.
	NoPut, NoDelete bool
}

// WatchResponse is one message of a watch stream, in the order in which it must be sent.
type WatchResponse struct {
	WatchID WatchID
	// Revision is the header's.
	Revision Revision
	Created  bool
	Canceled bool
	// Err tells why a creation failed: ErrDuplicateWatchID, ErrEmptyWatchRange or ErrCompacted (negative start).
	Err error
	// CompactRevision is set when the watcher was canceled because it needs a revision below it.
	CompactRevision Revision
	// Events never split a revision: all events of the last revision are there. They are shared: never modify them.
	Events []*mvccpb.Event
}

// WatchStream carries any number of watchers. Create, Cancel, RequestProgress and Close may be called concurrently
// with Next; Next by one goroutine at a time. Nothing is queued: Next makes each response when it is called,
// so a slow caller lags and costs no memory.
type WatchStream struct{}

// Create adds a watcher; its Created response, or the failed one, comes out of Next before its events.
func (ws *WatchStream) Create(r WatchRequest) { panic("TODO") }

// Cancel ends a watcher; Next returns the Canceled response unless id is unknown.
func (ws *WatchStream) Cancel(id WatchID) { panic("TODO") }

// RequestProgress makes Next return a response with InvalidWatchID, no events and a revision that is current as of a moment
// after the call, once all events up to it of all watchers of the stream have been returned.
func (ws *WatchStream) RequestProgress() { panic("TODO") }

// Next waits for the next response. It returns ctx's error, or [ErrStopped] once the store or the stream is closed.
func (ws *WatchStream) Next(ctx context.Context) (*WatchResponse, error) { panic("TODO") }

// Close ends the stream and all its watchers.
func (ws *WatchStream) Close() { panic("TODO") }
