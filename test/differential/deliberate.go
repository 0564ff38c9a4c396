package differential

// deliberate is a deliberate difference from etcd. The generator makes no request that shows it.
type deliberate struct{ name, reason string }

var deliberates = []deliberate{
	{
		name: "HashKV at the revision of a compaction",
		reason: "etcd answers with the hash that it computed during that compaction, with the compact revision " +
			"before it, even if a later compaction made the revision unreadable, until it restarts. Stele keeps no " +
			"such hash.",
	},
	{
		name: "Compact and HashKV at a revision in which a txn deleted a key and put it again",
		reason: "etcd accepts such a txn if the range of the delete has no end, and treats the key as deleted at " +
			"its revision: a compaction there drops the new value, and reading it ends the server with a fatal " +
			"error. Stele keeps it: see TestCompactAtReplacement.",
	},
	{
		name: "progress on a stream with a watcher that was canceled by compaction",
		reason: "etcd counts the watcher as unsynced, and answers no progress request of the stream, until the " +
			"client cancels it. Stele answers.",
	},
	{
		name: "LeaseGrant in lease mode ttl",
		reason: "The lease ID is the TTL and Stele stores no lease: it refuses an ID of the client's choice, never " +
			"answers that a lease exists, and accepts every valid TTL as the lease of a put.",
	},
}
