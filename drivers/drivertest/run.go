package drivertest

import (
	"slices"
	"testing"
)

// Run runs the conformance suite against a driver.
func Run(t *testing.T, h Harness) {
	for _, test := range (suite{h}).tests() {
		if len(h.Only) > 0 && !slices.Contains(h.Only, test.name) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			// Each test has a database of its own, and most of them mostly wait. The few that measure or are large run
			// alone.
			if !alone[test.name] {
				t.Parallel()
			}
			test.run(t)
		})
	}
}

// tests returns the tests for what the harness provides.
func (s suite) tests() []test {
	tests := []test{
		{"FreshLog", s.freshLog},
		{"AppendStoresAllFields", s.appendStoresAllFields},
		{"HeadIsPositionAndID", s.headIsPositionAndID},
		{"RetryAfterSuccessConflicts", s.retryAfterSuccessConflicts},
		{"AppendsRace", s.appendsRace},
		{"AnyBytes", s.anyBytes},
		{"LargeValues", s.largeValues},
		{"HugeAppend", s.hugeAppend},
		{"CanceledAppendWritesNothing", s.canceledAppendWritesNothing},
		{"CanceledAnywhere", s.canceledAnywhere},
		{"ReadLimits", s.readLimits},
		{"ReadIsASnapshot", s.readIsASnapshot},
		{"ScanIsASnapshot", s.scanIsASnapshot},
		{"ScanStops", s.scanStops},
		{"Values", s.values},
		{"DeleteKeepsNewest", s.deleteKeepsNewest},
		{"FloorOnlyRises", s.floorOnlyRises},
		{"FloorComesBeforeHoles", s.floorComesBeforeHoles},
		{"AppendsDuringDelete", s.appendsDuringDelete},
		{"DefragmentGivesSpaceBack", s.defragmentGivesSpaceBack},
		{"Reopen", s.reopen},
		{"CallsAfterCloseFail", s.callsAfterCloseFail},
		{"Clock", s.clock},
		{"EndSeesOtherAppends", s.endSeesOtherAppends},
		{"LargeAppend", s.largeAppend},
		{"WritersRace", s.writersRace},
		{"Confirm", s.confirm},
		{"DeleteIsGuarded", s.deleteIsGuarded},
		{"DamageIsReported", s.damageIsReported},
		{"RowsWithoutChecksum", s.rowsWithoutChecksum},
		{"OpenedTogether", s.openedTogether},
		{"ReopenDuringTraffic", s.reopenDuringTraffic},
		{"BusyLeavesRoom", s.busyLeavesRoom},
	}
	if s.Through != nil {
		tests = append(tests, []test{
			{"RequestDropped", s.requestDropped},
			{"AnswerSwallowed", s.answerSwallowed},
			{"DeliveredLate", s.deliveredLate},
			{"CutAnywhere", s.cutAnywhere},
			{"WritersRaceUnderCuts", s.writersRaceUnderCuts},
			{"NothingSentIsDefinite", s.nothingSentIsDefinite},
			{"RecoversByItself", s.recoversByItself},
			{"CallsEndInSilence", s.callsEndInSilence},
			{"CloseInSilence", s.closeInSilence},
		}...)
	}
	if s.Registers {
		tests = append(tests, []test{
			{"Register", s.register},
			{"RegisterAnyBytes", s.registerAnyBytes},
			{"UnregisterSilent", s.unregisterSilent},
			{"RegisterTogether", s.registerTogether},
		}...)
	}
	if s.Notifies {
		tests = append(tests, []test{
			{"Listen", s.listen},
			{"ListenIgnoresOwn", s.listenIgnoresOwn},
			{"ListenEnds", s.listenEnds},
		}...)
	}
	if s.Notifies && s.Through != nil {
		tests = append(tests, test{"ListenReportsLostConnection", s.listenReportsLostConnection})
	}
	return tests
}

var alone = map[string]bool{
	"HugeAppend": true, "LargeAppend": true, "AppendsDuringDelete": true, "DefragmentGivesSpaceBack": true,
	"Clock": true,
}

type test struct {
	name string
	run  func(t *testing.T)
}

// Essentials are the names of tests that together use every method in a few seconds.
var Essentials = []string{
	"AppendStoresAllFields", "HeadIsPositionAndID", "RetryAfterSuccessConflicts", "AppendsRace", "AnyBytes",
	"LargeValues", "ReadLimits", "ReadIsASnapshot",
	"ScanIsASnapshot", "Values", "DeleteKeepsNewest", "FloorOnlyRises", "DefragmentGivesSpaceBack", "Confirm",
	"DeleteIsGuarded", "WritersRace",
	"OpenedTogether", "Register", "RegisterTogether",
}
