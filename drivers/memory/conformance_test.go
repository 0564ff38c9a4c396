package memory

import (
	"slices"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/logstructured/log"
)

func opening(db *Database) func(testing.TB) log.Log {
	return func(testing.TB) log.Log { return db.Open() }
}

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		New: func(testing.TB) func(testing.TB) log.Log { return opening(new(Database)) },
		Damage: func(testing.TB) (func(testing.TB) log.Log, drivertest.Damager) {
			db := new(Database)
			return opening(db), func(_ testing.TB, position log.Position, damage drivertest.Damage) {
				db.Edit(func(c *Content) {
					i := slices.IndexFunc(c.Rows, func(e log.Entry) bool { return e.Position == position })
					damage.Change(&c.Rows[i])
				})
			}
		},
		Registers: true,
		Notifies:  true,
	})
}
