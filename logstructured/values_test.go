package logstructured

import "testing"

// inserted makes rows with unread values of a KiB, and inserts them in their order.
func inserted(v *values, n int) []*row {
	rows := make([]*row, n)
	for i := range rows {
		rows[i] = &row{}
		cv := &cachedValue{data: make([]byte, 1<<10)}
		rows[i].value.Store(cv)
		v.insert(rows[i], cv)
	}
	return rows
}

// kept is how many of the rows have their value, which it leaves unread.
func kept(rows []*row) (n int) {
	for _, r := range rows {
		if r.value.Load() != nil {
			n++
		}
	}
	return n
}

// TestCacheKeepsTheNewest keeps the newest values, which are read most.
func TestCacheKeepsTheNewest(t *testing.T) {
	const room = 100
	v := &values{budget: room * (1<<10 + cachedValueOverhead)}
	rows := inserted(v, 1000)
	if n := kept(rows[1000-room:]); n < room*95/100 || kept(rows) != room {
		t.Errorf("of the newest %d of 1000 values %d are kept, and %d in all", room, n, kept(rows))
	}
}

func TestCacheKeepsWhatIsRead(t *testing.T) {
	const room = 100
	v := &values{budget: room * (1<<10 + cachedValueOverhead)}
	read := inserted(v, 10)
	for range 100 {
		for _, r := range read {
			if _, ok := r.cached(); !ok {
				t.Fatal("a value that is read again and again was dropped")
			}
		}
		inserted(v, room/4)
	}
	if v.size > v.budget {
		t.Errorf("%d bytes are kept, the budget is %d", v.size, v.budget)
	}
	v.forget(read)
	inserted(v, 2*room)
	if kept(read) != 0 || v.size > v.budget {
		t.Errorf("forgotten values are there, or %d bytes of %d are used", v.size, v.budget)
	}
}
