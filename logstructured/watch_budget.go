package logstructured

import "slices"

// SetBudget bounds the responses of the stream. A response that is cut ends with a whole revision. It must be called
// before Next.
func (ws *WatchStream) SetBudget(b Budget) { ws.budget = b }

// fit takes room from the budget for the rows of a response up to the revision before next. It returns the rows that
// fit, in whole revisions and at least one revision, and the first revision that is left out.
func (ws *WatchStream) fit(w *watcher, rows []*row, next Revision) ([]*row, Revision, error) {
	if ws.budget == nil || len(rows) == 0 {
		return rows, next, nil
	}
	var total, least int64
	for _, r := range rows {
		total += w.cost(r)
		if r.revision == rows[0].revision {
			least = total
		}
	}
	left, err := ws.budget.Take(least, total)
	if err != nil || left >= total {
		return rows, next, err
	}
	for i, r := range rows {
		if left -= w.cost(r); left < 0 && r.revision != rows[0].revision {
			cut := r.revision
			first := slices.IndexFunc(rows[:i+1], func(r *row) bool { return r.revision == cut })
			return rows[:first:first], cut, nil
		}
	}
	return rows, next, nil
}

// cost approximates the bytes of the event of a row. It assumes that the previous value is as large as the new one,
// which is mostly so.
func (w *watcher) cost(r *row) int64 {
	if w.PrevKV {
		return 2 * r.cost()
	}
	return r.cost()
}
