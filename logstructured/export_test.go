package logstructured

// SetMarkSlice bounds the work of one slice of marking watchers.
func (s *Store) SetMarkSlice(n int) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.budget = n
}
