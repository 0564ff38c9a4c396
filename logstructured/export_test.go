package logstructured

// SetMarkSlice bounds the work of one slice of marking watchers.
func (s *Store) SetMarkSlice(n int) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.budget = n
}

// GroupSize returns how many requests an append should have. The store must have stopped.
func (s *Store) GroupSize() int { return s.queue.group.size() }

// Queued returns how many requests wait for the writer.
func (s *Store) Queued() int { return len(s.queue.requests) }
