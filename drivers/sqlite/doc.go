// Package sqlite stores the log in one SQLite file.
//
// # Invariants
//
//   - An append is one transaction. BEGIN IMMEDIATE takes the write lock, the newest row is compared with the append's
//     precondition, the rows are inserted, and COMMIT returns after the write-ahead log (WAL) was synced
//     (synchronous=FULL). Any number of processes on one machine may append to one file. The file must be on a local
//     file system, because SQLite's locks are not reliable on network file systems.
//   - The head of the log is its newest row, which is never deleted.
//   - Reads use connections of their own, and one snapshot per read. They neither wait for appends nor delay them.
//   - A checkpoint (copying the WAL into the file) never runs inside an append; a goroutine runs it.
//   - Errors of SQLite are classified by code (errors.go).
//   - Nothing else in the process opens the file while a log has it open, because POSIX drops all locks of a process on
//     a file when the process closes any descriptor of that file.
//
// The size of an append is limited only by memory (the keys and values of one statement at a time are copied) and disk
// space. SQLite itself refuses a key or value over 1,000,000,000 bytes.
//
// # When COMMIT fails
//
// COMMIT writes the changed pages to the WAL, the last of them with the commit mark, syncs the WAL, and then notifies
// the other connections through shared memory. If a write fails (typically because the disk is full), the mark is
// missing, and the append has definitely failed. If a step after the sync fails, SQLite rolls back and no connection
// sees the rows. The rows are in the WAL, however, and recovery will find them if the machine loses power before they
// are overwritten. The driver therefore tries to overwrite them with another commit, which only increments a counter.
// If that succeeds, the append has definitely failed; otherwise its outcome is unknown. If the sync itself fails, the
// outcome is unknown and the log stops. COMMIT is never interrupted: the context is checked before it.
//
// # When a sync fails
//
// A kernel that cannot write back a page reports that once, to the next sync of each descriptor, and then forgets the
// page; a later sync succeeds although the page is lost. While writers keep SQLite from copying the whole WAL, it
// advances its backfill mark (how much of the WAL the file holds) without a sync. After a failed sync the file may
// therefore lack pages that SQLite considers copied, and restarting the WAL would destroy their last copy. So the first
// failed sync of either file stops the log: every call returns [log.ErrSyncFailed], no checkpoint runs, and Close
// leaves the WAL in place. The next start recovers the WAL from its beginning and copies all of it again. It may also
// recover frames from the kernel's memory that were never synced, so the start rewrites the WAL in place and syncs it
// before it serves any of them.
//
// Connections do not checkpoint when they are closed, except for the last one when a log without a failure is closed.
//
// # DSN
//
// PATH?option=value&option=value. A relative PATH is relative to the working directory. Options:
//
//	checkpoint=external   Never checkpoint or remove the WAL, because another program (Litestream) reads it and does.
//	busy_timeout=5s       How long to wait for a lock of another process (a duration, or a number of milliseconds).
//	mode=rw               A missing file is an error.
//
// The driver accepts the options of the SQLite drivers that kine can be built with. It ignores, with a warning, options
// that would reduce safety or that concern settings of its own. It refuses options that contradict a log in a writable,
// locked file (options.go).
package sqlite
