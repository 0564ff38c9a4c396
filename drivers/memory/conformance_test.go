package memory

import (
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
				db.Edit(func(c *Content) { damage.Change(&c.Rows[position-1]) })
			}
		},
		Registers: true,
		Notifies:  true,
	})
}
