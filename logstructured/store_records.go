package logstructured

import "context"

// Records returns the records as they were when the newest entry was applied here.
func (s *Store) Records() Records { return Records{&s.snapshot().control} }

// UpdateRecords changes records, all or none. decide receives the current records and returns the changes. It may be
// called several times; the changes of its last call are made. UpdateRecords uses no revision, and returns the current
// one.
func (s *Store) UpdateRecords(
	ctx context.Context, guard Guard, decide func(Records) ([]RecordChange, error),
) (Revision, error) {
	return submit(ctx, s, call{guard: guard}, func(ev *evaluation) (Revision, error) {
		changes, err := decide(Records{&ev.st.control})
		if err != nil {
			return 0, err
		}
		for _, c := range changes {
			ev.record(c)
		}
		return ev.st.revision, nil
	}).wait()
}
