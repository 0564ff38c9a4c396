package apiserver

import (
	"testing"

	"k8s.io/apiserver/pkg/features"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
)

// storeTest is one of Kubernetes' tests over the etcd3 store.
type storeTest struct {
	name string
	run  func(e *storeEnv)
	on   serverKind
	// gates are the feature gates that differ from their defaults.
	gates gates
}

// storeTests write, read, list and watch.
var storeTests = []storeTest{
	{name: "Create", run: func(e *storeEnv) {
		storagetesting.RunTestCreate(e.ctx, e.T, e, stored(e.client.Client, newCodec()))
	}},
	{name: "CreateWithTTL", run: func(e *storeEnv) { storagetesting.RunTestCreateWithTTL(e.ctx, e.T, e) }},
	{name: "CreateWithKeyExist", run: func(e *storeEnv) { storagetesting.RunTestCreateWithKeyExist(e.ctx, e.T, e) }},
	{name: "Get", run: func(e *storeEnv) { storagetesting.RunTestGet(e.ctx, e.T, e) }},
	{name: "UnconditionalDelete", run: func(e *storeEnv) { storagetesting.RunTestUnconditionalDelete(e.ctx, e.T, e) }},
	{name: "ConditionalDelete", run: func(e *storeEnv) { storagetesting.RunTestConditionalDelete(e.ctx, e.T, e) }},
	{name: "DeleteWithSuggestion", run: func(e *storeEnv) {
		storagetesting.RunTestDeleteWithSuggestion(e.ctx, e.T, e)
	}},
	{name: "DeleteWithSuggestionAndConflict", run: func(e *storeEnv) {
		storagetesting.RunTestDeleteWithSuggestionAndConflict(e.ctx, e.T, e)
	}},
	{name: "DeleteWithSuggestionOfDeletedObject", run: func(e *storeEnv) {
		storagetesting.RunTestDeleteWithSuggestionOfDeletedObject(e.ctx, e.T, e)
	}},
	{name: "ValidateDeletionWithSuggestion", run: func(e *storeEnv) {
		storagetesting.RunTestValidateDeletionWithSuggestion(e.ctx, e.T, e)
	}},
	{name: "ValidateDeletionWithOnlySuggestionValid", run: func(e *storeEnv) {
		storagetesting.RunTestValidateDeletionWithOnlySuggestionValid(e.ctx, e.T, e)
	}},
	{name: "DeleteWithConflict", run: func(e *storeEnv) { storagetesting.RunTestDeleteWithConflict(e.ctx, e.T, e) }},
	{name: "PreconditionalDeleteWithSuggestion", run: func(e *storeEnv) {
		storagetesting.RunTestPreconditionalDeleteWithSuggestion(e.ctx, e.T, e)
	}},
	{name: "PreconditionalDeleteWithSuggestionPass", run: func(e *storeEnv) {
		storagetesting.RunTestPreconditionalDeleteWithOnlySuggestionPass(e.ctx, e.T, e)
	}},
	{name: "ListPaging", run: func(e *storeEnv) { storagetesting.RunTestListPaging(e.ctx, e.T, e) }},
	{name: "GetListNonRecursive", run: func(e *storeEnv) {
		storagetesting.RunTestGetListNonRecursive(e.ctx, e.T, increaseRevision(e.client.Client), e)
	}},
	{name: "GetListRecursivePrefix", run: func(e *storeEnv) {
		storagetesting.RunTestGetListRecursivePrefix(e.ctx, e.T, e)
	}},
	{name: "KeySchema", run: func(e *storeEnv) { storagetesting.RunTestKeySchema(e.ctx, e.T, e) }},
	{name: "GuaranteedUpdate", run: func(e *storeEnv) {
		storagetesting.RunTestGuaranteedUpdate(e.ctx, e.T, e, stored(e.client.Client, newCodec()))
	}},
	{name: "GuaranteedUpdateWithTTL", run: func(e *storeEnv) {
		storagetesting.RunTestGuaranteedUpdateWithTTL(e.ctx, e.T, e)
	}},
	{name: "GuaranteedUpdateChecksStoredData", run: func(e *storeEnv) {
		storagetesting.RunTestGuaranteedUpdateChecksStoredData(e.ctx, e.T, e)
	}},
	{name: "GuaranteedUpdateWithConflict", run: func(e *storeEnv) {
		storagetesting.RunTestGuaranteedUpdateWithConflict(e.ctx, e.T, e)
	}},
	{name: "GuaranteedUpdateWithSuggestionAndConflict", run: func(e *storeEnv) {
		storagetesting.RunTestGuaranteedUpdateWithSuggestionAndConflict(e.ctx, e.T, e)
	}},
	{name: "TransformationFailure", run: func(e *storeEnv) {
		storagetesting.RunTestTransformationFailure(e.ctx, e.T, e)
	}},
	{name: "ConsistentList", run: func(e *storeEnv) {
		storagetesting.RunTestConsistentList(e.ctx, e.T, e, increaseRevision(e.client.Client), false, true, false)
	}},
	{name: "ListContinuation", run: func(e *storeEnv) {
		storagetesting.RunTestListContinuation(e.ctx, e.T, e, e.reads())
	}},
	// With snapshots the store also reads the compact revision, and the test would count that request.
	{name: "ListPaginationRareObject", gates: gates{features.ListFromCacheSnapshot: false}, run: func(e *storeEnv) {
		storagetesting.RunTestListPaginationRareObject(e.ctx, e.T, e, e.reads())
	}},
	{name: "ListContinuationWithFilter", run: func(e *storeEnv) {
		storagetesting.RunTestListContinuationWithFilter(e.ctx, e.T, e, e.reads())
	}},
	{name: "NamespaceScopedList", run: func(e *storeEnv) { storagetesting.RunTestNamespaceScopedList(e.ctx, e.T, e) }},
	{name: "ListResourceVersionMatch", run: func(e *storeEnv) {
		storagetesting.RunTestListResourceVersionMatch(e.ctx, e.T, e)
	}},
	{name: "Stats/SizeBasedListCostEstimate=false", run: func(e *storeEnv) {
		storagetesting.RunTestStats(e.ctx, e.T, e, newCodec(), e.transformer, false)
	}},
	{name: "Stats/SizeBasedListCostEstimate=true", run: func(e *storeEnv) {
		if err := e.EnableResourceSizeEstimation(keysOf(e.client.Client, "/pods/")); err != nil {
			e.Fatal(err)
		}
		storagetesting.RunTestStats(e.ctx, e.T, e, newCodec(), e.transformer, true)
	}},

	{name: "Watch", run: func(e *storeEnv) { storagetesting.RunTestWatch(e.ctx, e.T, e) }},
	{name: "ClusterScopedWatch", run: func(e *storeEnv) { storagetesting.RunTestClusterScopedWatch(e.ctx, e.T, e) }},
	{name: "NamespaceScopedWatch", run: func(e *storeEnv) {
		storagetesting.RunTestNamespaceScopedWatch(e.ctx, e.T, e)
	}},
	{name: "DeleteTriggerWatch", run: func(e *storeEnv) { storagetesting.RunTestDeleteTriggerWatch(e.ctx, e.T, e) }},
	{name: "WatchFromNonZero", run: func(e *storeEnv) { storagetesting.RunTestWatchFromNonZero(e.ctx, e.T, e) }},
	{name: "DelayedWatchDelivery", run: func(e *storeEnv) {
		storagetesting.RunTestDelayedWatchDelivery(e.ctx, e.T, e)
	}},
	{name: "WatchError", run: func(e *storeEnv) { storagetesting.RunTestWatchError(e.ctx, e.T, e) }},
	{name: "WatchContextCancel", run: func(e *storeEnv) { storagetesting.RunTestWatchContextCancel(e.ctx, e.T, e) }},
	{name: "WatcherTimeout", run: func(e *storeEnv) { storagetesting.RunTestWatcherTimeout(e.ctx, e.T, e) }},
	{name: "WatchDeleteEventObjectHaveLatestRV", run: func(e *storeEnv) {
		storagetesting.RunTestWatchDeleteEventObjectHaveLatestRV(e.ctx, e.T, e)
	}},
	{name: "WatchInitializationSignal", run: func(e *storeEnv) {
		storagetesting.RunTestWatchInitializationSignal(e.ctx, e.T, e)
	}},
	{name: "ProgressNotify", on: notifying, run: func(e *storeEnv) {
		storagetesting.RunOptionalTestProgressNotify(e.ctx, e.T, e, increaseRevision(e.client.Client))
	}},
	{name: "WatchDispatchBookmarkEvents", on: notifying, run: func(e *storeEnv) {
		storagetesting.RunTestWatchDispatchBookmarkEvents(e.ctx, e.T, e, false)
	}},
	{name: "SendInitialEventsBackwardCompatibility", run: func(e *storeEnv) {
		storagetesting.RunSendInitialEventsBackwardCompatibility(e.ctx, e.T, e)
	}},
	{name: "WatchSemantics", run: func(e *storeEnv) { storagetesting.RunWatchSemantics(e.ctx, e.T, e) }},
	{name: "WatchSemanticsWithConcurrentDecode", gates: gates{features.ConcurrentWatchObjectDecode: true},
		run: func(e *storeEnv) {
			storagetesting.RunWatchSemantics(e.ctx, e.T, e)
		}},
	{name: "WatchSemanticInitialEventsExtended", run: func(e *storeEnv) {
		storagetesting.RunWatchSemanticInitialEventsExtended(e.ctx, e.T, e)
	}},
	{name: "WatchListMatchSingle", run: func(e *storeEnv) { storagetesting.RunWatchListMatchSingle(e.ctx, e.T, e) }},
	{name: "WatchErrorIsBlockingFurtherEvents", run: func(e *storeEnv) {
		storagetesting.RunWatchErrorIsBlockingFurtherEvents(e.ctx, e.T, e)
	}},
}

// storeCompactions compact the server's history.
var storeCompactions = []storeTest{
	{name: "List", run: func(e *storeEnv) {
		recorder, ok := e.client.Kubernetes.(*storagetesting.KubernetesRecorder)
		if !ok {
			e.Fatalf("the client's Kubernetes is a %T", e.client.Kubernetes)
		}
		storagetesting.RunTestList(e.ctx, e.T, e, e.compact(), false, recorder)
	}},
	{name: "ListInconsistentContinuation", run: func(e *storeEnv) {
		storagetesting.RunTestListInconsistentContinuation(e.ctx, e.T, e, e.compact())
	}},
	{name: "WatchFromZero", run: func(e *storeEnv) { storagetesting.RunTestWatchFromZero(e.ctx, e.T, e, e.compact()) }},
	// Only stores with snapshots notice compactions of other API servers.
	{name: "CompactRevision", gates: gates{features.ListFromCacheSnapshot: true}, run: func(e *storeEnv) {
		storagetesting.RunTestCompactRevision(e.ctx, e.T, e, increaseRevision(e.client.Client), e.compact())
	}},
}

func (e *storeEnv) compact() storagetesting.Compaction {
	return compact(e.client.Client, e.Interface, func() {})
}

// runStoreTests runs the tests one by one: another test would change the revision that a test has just read.
func runStoreTests(t *testing.T, on *servers, tests []storeTest) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.gates.set(t)
			test.run(newStoreEnv(t, newClient(t, on.of(test.on, t))))
		})
	}
}
