// Package kine reads the table in which kine stores its keys, for an import.
//
// Each row is a write. Its id is the revision. The columns are:
//
//	id name created deleted create_revision prev_revision lease value old_value
//
// created and deleted are 0 or 1; a row with neither is an update. create_revision is the create revision of the key's
// generation, and NULL or 0 in the first row of a generation. prev_revision is the id of the superseded row; lease is a
// TTL in seconds; old_value repeats the value of the superseded row. Versions are not stored.
//
// Some rows are not client writes:
//
//   - "compact_rev_key" is kine's own row: its prev_revision is the compact revision.
//   - "gap-N", deleted, with id N, fills a gap left by a failed transaction, to which the database had given that id.
//   - "compact_rev_key_apiserver" is the key that clients see as "compact_rev_key". Its value is the version in
//     decimal, a bar, and the value that the client wrote.
//
// A compaction deletes superseded rows and tombstones up to the compact revision.
package kine
