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
	var revision Revision
	err := s.write(ctx, 0, func(st *step) error {
		if err := st.st.pass(guard); err != nil {
			return err
		}
		changes, err := decide(Records{&st.st.control})
		if err != nil {
			return err
		}
		for _, c := range changes {
			st.record(c)
		}
		revision = st.st.revision
		return nil
	})
	return revision, err
}
