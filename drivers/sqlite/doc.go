// Package sqlite keeps the log in one SQLite file.
//
// # Invariants
//
//   - An append is one transaction: BEGIN IMMEDIATE takes the write lock, the newest row is compared with the guard, the
//     rows go in, and COMMIT returns after the write-ahead log (WAL) was synced (synchronous=FULL). Any number of processes on the
//     same machine may do so on the same file. The file must be on a local file system: SQLite's locks are not
//     reliable on a network one.
//   - The end of the log is its newest row, which is never deleted.
//   - Reads run on connections of their own, each in one snapshot, and neither wait for appends nor delay them.
//   - A checkpoint (copying the WAL into the file) never happens inside an append. A goroutine does it.
//   - Errors of SQLite are classified by their code (errors.go).
//   - Nothing else in the process opens the file while a log has it open: POSIX drops all locks of a process on a file
//     as soon as the process closes any descriptor of it.
//
// There is no limit to an append but memory (an entry's key and value are copied once, a statement at a time)
// and disk. SQLite itself refuses a key or value over 1,000,000,000 bytes.
//
// # When COMMIT fails
//
// COMMIT writes the changed pages to the WAL, the last of them with the mark that makes the transaction count, syncs
// the WAL, and then tells the other connections through shared memory. If a write fails (a full disk above all) the
// mark is not there: the append has failed for good. If what follows the sync fails, SQLite rolls back, and no
// connection sees the rows; but they are in the WAL, and if the machine loses power before something else is written
// over them, recovery will find them. So the driver tries to write something else over them, a commit that only counts
// up: if that succeeds the append has failed for good, otherwise its outcome is unknown. If the sync itself fails its
// outcome is unknown, and the log does nothing more. A context that ends never interrupts COMMIT: it is looked at
// before.
//
// # When a sync fails
//
// A kernel that cannot write a page back reports it to the next sync of each descriptor, once, and forgets the page: a
// later sync succeeds without it. SQLite advances its backfill mark (how much of the WAL the file holds) without a sync
// while writers keep it from copying the whole WAL. So after a failed sync the file may lack pages that SQLite takes
// for copied, and starting the WAL over would destroy the last copy of them. The first failed sync of either file
// therefore ends the log: every call returns [log.ErrSyncFailed], nothing is checkpointed, and Close leaves the WAL
// where it is. The next start recovers the WAL from its beginning, and all of it is copied again. Frames that were
// never synced may be recovered too, from memory: the start writes the WAL over itself and syncs it before anything of
// it is served.
//
// Connections never checkpoint when they are closed, but for the last one of a Close without a failure.
//
// # DSN
//
// PATH?option=value&option=value. PATH is relative to the working directory unless absolute. Options:
//
//	checkpoint=external   Never checkpoint and never remove the WAL: another program that reads it does (Litestream).
//	busy_timeout=5s       How long to wait for a lock of another process (a duration, or a number of milliseconds).
//	mode=rw               A missing file is an error.
//
// The options of the drivers that kine can be built with are accepted. Those that ask for less safety, or for what this
// driver does in its own way, are ignored with a warning; those that contradict a log in a writable, locked file are
// refused (options.go).
package sqlite
