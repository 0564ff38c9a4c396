package sqlite

import (
	"context"
	"fmt"
	"time"
)

const (
	// vacuumKeepBytes is the free space that Delete leaves in the file for later appends.
	vacuumKeepBytes = 4 << 20
	vacuumPages     = 32
)

// vacuum returns free pages to the file system in small steps. It keeps the larger of keep bytes and a tenth of the
// database, or nothing if keep is 0.
func (l *Log) vacuum(ctx context.Context, keep int64) error {
	for {
		more := false
		err := l.write(ctx, func(w *writer) error {
			for start := time.Now(); time.Since(start) < writeSlice && ctx.Err() == nil; {
				v, err := w.c.int64s(`SELECT page_count, freelist_count, page_size
					FROM pragma_page_count, pragma_freelist_count, pragma_page_size`, 3)
				if err != nil {
					return err
				}
				pages, free := v[0], v[1]
				spare := free
				if keep > 0 {
					spare = free - max(keep/v[2], pages/10)
				}
				if more = spare > 0; !more {
					return nil
				}
				if err := w.c.exec(vacuumSQL); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || !more {
			return err
		}
		if err := l.yieldWriter(ctx); err != nil {
			return err
		}
	}
}

var vacuumSQL = fmt.Sprintf(`PRAGMA incremental_vacuum(%d)`, vacuumPages)
