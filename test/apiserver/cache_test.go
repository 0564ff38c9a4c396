package apiserver

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/util/version"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	"k8s.io/apiserver/pkg/features"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
)

// cacheTest is one of Kubernetes' tests over the watch cache over the etcd3 store.
type cacheTest struct {
	name   string
	run    func(e *cacheEnv)
	layout cacheLayout
	on     serverKind
	gates  gates
	// emulate is the version of Kubernetes in which the gates can be set; empty means the current one.
	emulate string
}

// cacheTests write, read, list and watch.
var cacheTests = append([]cacheTest{
	{name: "Create", run: func(e *cacheEnv) { storagetesting.RunTestCreate(e.ctx, e.T, e, unchecked) }},
	{name: "CreateWithTTL", run: func(e *cacheEnv) { storagetesting.RunTestCreateWithTTL(e.ctx, e.T, e) }},
	{name: "CreateWithKeyExist", run: func(e *cacheEnv) { storagetesting.RunTestCreateWithKeyExist(e.ctx, e.T, e) }},
	{name: "Get", run: func(e *cacheEnv) { storagetesting.RunTestGet(e.ctx, e.T, e) }},
	{name: "UnconditionalDelete", run: func(e *cacheEnv) { storagetesting.RunTestUnconditionalDelete(e.ctx, e.T, e) }},
	{name: "ConditionalDelete", run: func(e *cacheEnv) { storagetesting.RunTestConditionalDelete(e.ctx, e.T, e) }},
	{name: "DeleteWithSuggestion", run: func(e *cacheEnv) {
		storagetesting.RunTestDeleteWithSuggestion(e.ctx, e.T, e)
	}},
	{name: "DeleteWithSuggestionAndConflict", run: func(e *cacheEnv) {
		storagetesting.RunTestDeleteWithSuggestionAndConflict(e.ctx, e.T, e)
	}},
	{name: "DeleteWithSuggestionOfDeletedObject", run: func(e *cacheEnv) {
		storagetesting.RunTestDeleteWithSuggestionOfDeletedObject(e.ctx, e.T, e)
	}},
	{name: "ValidateDeletionWithSuggestion", run: func(e *cacheEnv) {
		storagetesting.RunTestValidateDeletionWithSuggestion(e.ctx, e.T, e)
	}},
	{name: "ValidateDeletionWithOnlySuggestionValid", run: func(e *cacheEnv) {
		storagetesting.RunTestValidateDeletionWithOnlySuggestionValid(e.ctx, e.T, e)
	}},
	{name: "DeleteWithConflict", run: func(e *cacheEnv) { storagetesting.RunTestDeleteWithConflict(e.ctx, e.T, e) }},
	{name: "PreconditionalDeleteWithSuggestion", run: func(e *cacheEnv) {
		storagetesting.RunTestPreconditionalDeleteWithSuggestion(e.ctx, e.T, e)
	}},
	{name: "PreconditionalDeleteWithSuggestionPass", run: func(e *cacheEnv) {
		storagetesting.RunTestPreconditionalDeleteWithOnlySuggestionPass(e.ctx, e.T, e)
	}},
	{name: "ListPaging", run: func(e *cacheEnv) { storagetesting.RunTestListPaging(e.ctx, e.T, e) }},
	{name: "GetListRecursivePrefix", run: func(e *cacheEnv) {
		storagetesting.RunTestGetListRecursivePrefix(e.ctx, e.T, e)
	}},
	{name: "KeySchema", run: func(e *cacheEnv) { storagetesting.RunTestKeySchema(e.ctx, e.T, e) }},
	{name: "ListContinuation", run: func(e *cacheEnv) {
		storagetesting.RunTestListContinuation(e.ctx, e.T, e, uncheckedReads)
	}},
	{name: "ListPaginationRareObject", run: func(e *cacheEnv) {
		storagetesting.RunTestListPaginationRareObject(e.ctx, e.T, e, uncheckedReads)
	}},
	{name: "ListContinuationWithFilter", run: func(e *cacheEnv) {
		storagetesting.RunTestListContinuationWithFilter(e.ctx, e.T, e, uncheckedReads)
	}},
	{name: "NamespaceScopedList", layout: cacheLayout{indexed: true}, run: func(e *cacheEnv) {
		storagetesting.RunTestNamespaceScopedList(e.ctx, e.T, e)
	}},
	{name: "GuaranteedUpdateWithTTL", run: func(e *cacheEnv) {
		storagetesting.RunTestGuaranteedUpdateWithTTL(e.ctx, e.T, e)
	}},
	{name: "GuaranteedUpdateWithConflict", run: func(e *cacheEnv) {
		storagetesting.RunTestGuaranteedUpdateWithConflict(e.ctx, e.T, e)
	}},
	{name: "GuaranteedUpdateWithSuggestionAndConflict", run: func(e *cacheEnv) {
		storagetesting.RunTestGuaranteedUpdateWithSuggestionAndConflict(e.ctx, e.T, e)
	}},
	{name: "Stats/SizeBasedListCostEstimate=false", gates: gates{features.SizeBasedListCostEstimate: false},
		run: runCacheStats},
	{name: "Stats/SizeBasedListCostEstimate=true", gates: gates{features.SizeBasedListCostEstimate: true},
		run: runCacheStats},

	{name: "Watch", run: func(e *cacheEnv) { storagetesting.RunTestWatch(e.ctx, e.T, e) }},
	{name: "ClusterScopedWatch", layout: cacheLayout{clusterScoped: true, indexed: true}, run: func(e *cacheEnv) {
		storagetesting.RunTestClusterScopedWatch(e.ctx, e.T, e)
	}},
	{name: "NamespaceScopedWatch", layout: cacheLayout{indexed: true}, run: func(e *cacheEnv) {
		storagetesting.RunTestNamespaceScopedWatch(e.ctx, e.T, e)
	}},
	{name: "DeleteTriggerWatch", run: func(e *cacheEnv) { storagetesting.RunTestDeleteTriggerWatch(e.ctx, e.T, e) }},
	// A cache does not compact its content: the second half of the test is skipped.
	{name: "WatchFromZero", run: func(e *cacheEnv) { storagetesting.RunTestWatchFromZero(e.ctx, e.T, e, nil) }},
	{name: "WatchFromNonZero", run: func(e *cacheEnv) { storagetesting.RunTestWatchFromNonZero(e.ctx, e.T, e) }},
	{name: "DelayedWatchDelivery", run: func(e *cacheEnv) {
		storagetesting.RunTestDelayedWatchDelivery(e.ctx, e.T, e)
	}},
	{name: "WatcherTimeout", run: func(e *cacheEnv) { storagetesting.RunTestWatcherTimeout(e.ctx, e.T, e) }},
	{name: "WatchDeleteEventObjectHaveLatestRV", run: func(e *cacheEnv) {
		storagetesting.RunTestWatchDeleteEventObjectHaveLatestRV(e.ctx, e.T, e)
	}},
	{name: "WatchInitializationSignal", run: func(e *cacheEnv) {
		storagetesting.RunTestWatchInitializationSignal(e.ctx, e.T, e)
	}},
	{name: "WatchDispatchBookmarkEvents", run: func(e *cacheEnv) {
		storagetesting.RunTestWatchDispatchBookmarkEvents(e.ctx, e.T, e, true)
	}},
	{name: "WatchBookmarksWithCorrectResourceVersion", run: func(e *cacheEnv) {
		storagetesting.RunTestOptionalWatchBookmarksWithCorrectResourceVersion(e.ctx, e.T, e)
	}},
	{name: "SendInitialEventsBackwardCompatibility", run: func(e *cacheEnv) {
		storagetesting.RunSendInitialEventsBackwardCompatibility(e.ctx, e.T, e)
	}},
	{name: "WatchSemantics", on: fresh, run: func(e *cacheEnv) {
		storagetesting.RunWatchSemantics(e.ctx, e.T, creating{e})
	}},
	{name: "WatchSemanticInitialEventsExtended", run: func(e *cacheEnv) {
		storagetesting.RunWatchSemanticInitialEventsExtended(e.ctx, e.T, creating{e})
	}},
	{name: "WatchListMatchSingle", run: func(e *cacheEnv) {
		storagetesting.RunWatchListMatchSingle(e.ctx, e.T, creating{e})
	}},
	{name: "MarkConsistent", gates: gates{features.ListFromCacheSnapshot: true}, run: runMarkConsistent},
}, listVariants(func(consistent, snapshots bool) []cacheTest {
	return []cacheTest{
		{name: "ConsistentList", run: func(e *cacheEnv) {
			storagetesting.RunTestConsistentList(e.ctx, e.T, e, increaseRevision(e.client.Client), true,
				consistent, snapshots)
		}},
		{name: "GetListNonRecursive", run: func(e *cacheEnv) {
			storagetesting.RunTestGetListNonRecursive(e.ctx, e.T, increaseRevision(e.client.Client), e)
		}},
	}
})...)

// cacheCompactions compact the server's history. Some expect requests at revisions that only an empty server gives.
var cacheCompactions = append(listVariants(func(bool, bool) []cacheTest {
	return []cacheTest{{name: "List", on: fresh, run: func(e *cacheEnv) {
		storagetesting.RunTestList(e.ctx, e.T, e, e.compact(), true, e.recorder())
	}}}
}), cacheTest{name: "CompactRevision", gates: gates{features.ListFromCacheSnapshot: true}, run: func(e *cacheEnv) {
	storagetesting.RunTestCompactRevision(e.ctx, e.T, e, increaseRevision(e.client.Client), e.compact())
}})

// listVariants returns tests of lists with each combination of the gates that select the source of lists.
func listVariants(tests func(consistent, snapshots bool) []cacheTest) []cacheTest {
	var all []cacheTest
	for _, consistent := range consistentLists {
		for _, snapshots := range []bool{true, false} {
			for _, test := range tests(consistent, snapshots) {
				test.name = fmt.Sprintf("Lists/ConsistentListFromCache=%v,ListFromCacheSnapshot=%v/%s", consistent,
					snapshots, test.name)
				test.gates = gates{features.ListFromCacheSnapshot: snapshots}
				if !consistent {
					listFromStore(&test)
				}
				all = append(all, test)
			}
		}
	}
	return all
}

func runCacheStats(e *cacheEnv) {
	storagetesting.RunTestStats(e.ctx, e.T, e, codecs.LegacyCodec(examplev1.SchemeGroupVersion),
		identity.NewEncryptCheckTransformer(),
		utilfeature.DefaultFeatureGate.Enabled(features.SizeBasedListCostEstimate))
}

// runCacheTests runs the tests one by one: another test would change the revision that a test has just read.
func runCacheTests(t *testing.T, on *servers, tests []cacheTest) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.emulate != "" {
				featuregatetesting.SetFeatureGateEmulationVersionDuringTest(t, utilfeature.DefaultFeatureGate,
					version.MustParse(test.emulate))
			}
			test.gates.set(t)
			test.run(newCacheEnv(t, newClient(t, on.of(test.on, t)), test.layout))
		})
	}
}
