// Package kine reads the table in which kine keeps its keys, for an import.
//
// Each row of it is a write, whose id is the revision:
//
//	id name created deleted create_revision prev_revision lease value old_value
//
// created and deleted are 0 or 1; a row with neither is an update. create_revision is that of the generation, and NULL
// or 0 in the row that begins one. prev_revision is the row that it superseded; lease is a TTL in seconds; old_value
// repeats what the superseded row has. Versions are not stored.
//
// Not all rows are writes of a client:
//
//   - "compact_rev_key" is kine's own: its prev_revision is the compact revision.
//   - "gap-N", deleted, at id N, fills the place of an id that the database gave to a transaction that failed.
//   - "compact_rev_key_apiserver" is what clients see as "compact_rev_key"; its value is the version and what the client wrote, in decimal and with a bar between.
//
// Compacting deletes superseded rows and tombstones up to the compact revision.
package kine
