package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// followInterval is the time between two appends, and between two requests for the progress of the source.
const followInterval = time.Second

// follow copies the events until the cut-over.
func (l *live) follow(ctx context.Context) error {
	heard := time.Now()
	for {
		before := l.at
		err := l.watch(ctx)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if l.at != before {
			heard = time.Now()
		}
		if !transient(err) && !errors.Is(err, io.EOF) || time.Since(heard) > patience {
			return err
		}
		l.opts.Logger.WithError(err).Warn("cannot reach the source; trying again")
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// reached reports whether all revisions up to the cut-over are copied.
func (l *live) reached() bool { return l.cut > 0 && l.complete >= l.cut }

// watch follows the source with one watch. It returns nil when the copy has reached the cut-over.
func (l *live) watch(ctx context.Context) error {
	if l.reached() {
		return l.target.Flush(ctx)
	}
	var receiving sync.WaitGroup
	defer receiving.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := l.source.watch.Watch(ctx)
	if err != nil {
		return err
	}
	l.revision, l.sub = 0, 0
	// The watch repeats the newest copied revision: a watch of a future revision does not report the progress of the
	// source.
	create := &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: max(l.complete, 1),
		ProgressNotify: true, Fragment: true}
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}
	if err := stream.Send(request); err != nil {
		return err
	}
	responses := make(chan *pb.WatchResponse)
	failed := make(chan error, 1)
	receiving.Go(func() { failed <- forward(ctx, stream, responses) })
	return l.receive(ctx, stream, responses, failed)
}

// forward sends the responses of a watch to responses until the watch ends.
func forward(ctx context.Context, stream pb.Watch_WatchClient, responses chan<- *pb.WatchResponse) error {
	for {
		resp, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("watch the source: %w", err)
		}
		select {
		case responses <- resp:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (l *live) receive(ctx context.Context, stream pb.Watch_WatchClient, responses <-chan *pb.WatchResponse,
	failed <-chan error) error {
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	cutOver := l.opts.CutOver
	if l.cut > 0 {
		cutOver = nil
	}
	for !l.reached() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-failed:
			return err
		case resp := <-responses:
			if err := l.take(ctx, resp); err != nil {
				return err
			}
			if resp.Created {
				// The source answers when the watch has caught up, even without further events.
				if err := requestProgress(stream); err != nil {
					return err
				}
			}
		case <-cutOver:
			cutOver = nil
			revision, err := l.source.revision(ctx)
			if err != nil {
				return err
			}
			l.cut = revision
			if err := requestProgress(stream); err != nil {
				return err
			}
		case <-ticker.C:
			if err := l.target.Flush(ctx); err != nil {
				return err
			}
			if err := requestProgress(stream); err != nil {
				return err
			}
		}
	}
	return l.target.Flush(ctx)
}

func requestProgress(stream pb.Watch_WatchClient) error {
	request := &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}
	return stream.Send(&pb.WatchRequest{RequestUnion: request})
}

// take copies the events of a response to the target.
func (l *live) take(ctx context.Context, resp *pb.WatchResponse) error {
	switch {
	case resp.CompactRevision > 0:
		return fmt.Errorf("%w: the copy has come to revision %d, and everything up to %d is compacted: empty the "+
			"target and import again, or compact the source less often",
			ErrSourceCompacted, l.complete, resp.CompactRevision)
	case resp.Canceled:
		return fmt.Errorf("the source has ended the watch: %s", resp.CancelReason)
	case resp.Created:
		return nil
	}
	for _, e := range resp.Events {
		if e.Kv.ModRevision != l.revision {
			// Earlier revisions are complete.
			l.revision, l.sub, l.complete = e.Kv.ModRevision, 0, max(l.complete, e.Kv.ModRevision-1)
		}
		if l.reached() {
			break
		}
		if err := l.event(ctx, e); err != nil {
			return err
		}
		l.sub++
	}
	switch {
	case l.reached() || resp.Fragment: // a fragment may end within a revision
	case len(resp.Events) > 0:
		l.complete = max(l.complete, l.revision) // the header's revision may be ahead of the events
	default:
		l.complete = max(l.complete, resp.Header.Revision)
	}
	l.opts.progress(StageFollow, l.complete, max(resp.Header.Revision, l.complete))
	return nil
}

// event copies one event to the target, unless an earlier watch has delivered it.
func (l *live) event(ctx context.Context, e *mvccpb.Event) error {
	at := logstructured.ImportPoint{Revision: logstructured.Revision(l.revision), Sub: l.sub}
	if at.Revision < l.at.Revision || at.Revision == l.at.Revision && at.Sub <= l.at.Sub {
		return nil
	}
	entry := log.Entry{Kind: log.KindTombstone, Revision: at.Revision, Sub: at.Sub, Key: e.Kv.Key}
	if e.Type == mvccpb.Event_PUT {
		entry.Kind, entry.Value, entry.Version = log.KindPut, e.Kv.Value, e.Kv.Version
		entry.Lease = logstructured.LeaseID(e.Kv.Lease)
		entry.CreateRevision = logstructured.Revision(e.Kv.CreateRevision)
	}
	if err := l.target.Write(ctx, entry); err != nil {
		return err
	}
	l.at = at
	l.done++
	return nil
}
