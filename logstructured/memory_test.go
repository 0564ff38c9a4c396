package logstructured_test

import (
	"slices"

	"github.com/stele-db/stele/drivers/memory"
	"github.com/stele-db/stele/logstructured/log"
)

// changeRow changes the stored row at a position. The slices of the row are its own.
func changeRow(db *memory.Database, position log.Position, change func(*log.Entry)) {
	db.Edit(func(c *memory.Content) {
		for i := range c.Rows {
			if e := &c.Rows[i]; e.Position == position {
				e.Key, e.Value = slices.Clone(e.Key), slices.Clone(e.Value)
				change(e)
			}
		}
	})
}

// dropChecksums makes all rows those of a version that knew no checksums.
func dropChecksums(db *memory.Database) {
	db.Edit(func(c *memory.Content) {
		for i := range c.Rows {
			c.Rows[i].Checksum = 0
		}
	})
}
