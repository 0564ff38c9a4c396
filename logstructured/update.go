package logstructured

import "context"

// update has the writer carry out a request, and returns its result once its writes are committed. This is the path of
// every write: quota, queue, alarms and guard, evaluation, append, and the values that only the answer needs.
func update[R any](
	ctx context.Context, s *Store, c call, evaluate func(*evaluation) (R, error),
) (result R, err error) {
	if err := s.reserveSpace(ctx, c.cost.database); err != nil {
		return result, err
	}
	result, err = submit(ctx, s, c, evaluate).wait()
	return result, s.reportFull(ctx, err)
}
