package differential

// deliberate is a difference that Stele wants. The generator never asks for it.
type deliberate struct{ name, reason string }

var deliberates = []deliberate{
	{
		name: "HashKV at the revision of a compaction",
		reason: "etcd answers from memory what it computed during that compaction, with the compact revision before it, even if a later" +
			" compaction made the revision unreadable, and forgets it when it restarts. Stele has no such memory.",
	},
	{
		name: "Compact and HashKV at a revision in which a txn deleted a key and put it again",
		reason: "etcd lets such a txn pass if the range of the delete has no end; at its revision it then takes the key for deleted: compacting" +
			" there drops the new value, and the server ends with a fatal error when that is read. Stele keeps it: see TestCompactAtReplacement.",
	},
	{
		name: "progress on a stream with a watcher that was canceled by compaction",
		reason: "etcd counts it as not synced until the client cancels it too, and answers no progress request of the stream until then. Stele" +
			" answers.",
	},
	{
		name: "LeaseGrant in lease mode ttl",
		reason: "The lease ID is the TTL and nothing is stored: an ID of the client's choice is refused, no lease exists twice, and any number" +
			" that can be a TTL is a lease that can be put with.",
	},
}
