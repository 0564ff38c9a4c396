package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/transfer/snapshot"
)

const exportHelp = `Write a consistent copy of the database into FILE, in the format of etcd's snapshots, and exit. It
holds the history from the compact revision on, leases, users and roles. "etcdutl snapshot restore FILE" can restore
it.

The command changes nothing in the database, and servers may keep running. FILE must not exist. It gets its name when it
is complete and its content was compared with the database.`

func newExportCommand() *cobra.Command {
	var t tool
	var dryRun bool
	return t.command(&cobra.Command{
		Use: "export FILE", Short: "Write an etcd snapshot of the database", Long: exportHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 { // not in the message: it may be a DSN with a password
				return errors.New("stele export takes the name of the file and flags: stele export snapshot.db; " +
					"name the database with --endpoint")
			}
			return nil
		},
	}, func(flags *pflag.FlagSet) {
		flags.BoolVar(&dryRun, "dry-run", false,
			"read the database and report what would be written, without writing it")
	}, func(ctx context.Context, args []string) error { return t.export(ctx, args[0], dryRun) })
}

// export writes the file, or with dryRun only reads its content.
func (t *tool) export(ctx context.Context, file string, dryRun bool) (err error) {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = errors.New("exists; name another file")
		}
		return fmt.Errorf("%s: %w", file, err)
	}
	database, logger, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	x, err := logstructured.ExportLog(ctx, database)
	switch {
	case err != nil:
		return fmt.Errorf("--endpoint: %w, reading %s", err, t.name())
	case x.Position == 0:
		return fmt.Errorf("--endpoint: there is nothing to export in %s; name the database that is served", t.name())
	}
	if dryRun {
		return t.exportNothing(ctx, logger, x)
	}
	return t.exportTo(ctx, logger, x, file)
}

func (t *tool) exportNothing(ctx context.Context, logger *logrus.Entry, x *logstructured.Export) error {
	p := newProgress(t.stderr, logger, "reading", int64(x.Len()))
	defer p.end()
	read := 0
	sum, err := x.Read(ctx, func(entries []log.Entry) error {
		read += len(entries)
		p.set(int64(read))
		return ctx.Err()
	})
	if err != nil {
		return overtaken(err)
	}
	p.end()
	return t.exported(x, sum, "nothing was written")
}

// exportTo writes a partial file and renames it when it is complete.
func (t *tool) exportTo(ctx context.Context, logger *logrus.Entry, x *logstructured.Export, file string) error {
	partial := fmt.Sprintf("%s.%08x.partial", file, rand.Uint32())
	p := newProgress(t.stderr, logger, "writing", int64(x.Len()))
	defer p.end()
	sum, err := snapshot.Build(ctx, partial, x, func(written, _ int) { p.set(int64(written)) })
	if err != nil { // Build has removed the file
		return overtaken(err)
	}
	p.end()
	err = snapshot.AppendChecksum(partial)
	if err == nil {
		logger.Info("reading the file back to compare it")
		err = verifyExport(partial, x, sum)
	}
	if err == nil {
		err = publishFile(partial, file)
	}
	if err != nil {
		if removeErr := os.Remove(partial); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
		return err
	}
	return t.exported(x, sum, "written to "+file+", and compared with what is there")
}

// overtaken adds advice to the error of an export that was interrupted by a compaction.
func overtaken(err error) error {
	if errors.Is(err, logstructured.ErrCompacted) {
		return fmt.Errorf("%w: run the same command again", err)
	}
	return err
}

// verifyExport compares the file with the content of the database.
func verifyExport(path string, x *logstructured.Export, sum uint32) (err error) {
	f, err := snapshot.Open(path, snapshot.OpenOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	written, err := f.HashKV(0)
	if err != nil {
		return err
	}
	info := f.Info()
	if written != sum || info.Revision != int64(x.Revision) || info.CompactRevision != int64(x.CompactRevision) {
		return fmt.Errorf("the file differs from the database: hash %d at revision %d, compact revision %d, and not "+
			"%d at %d, %d",
			written, info.Revision, info.CompactRevision, sum, x.Revision, x.CompactRevision)
	}
	return nil
}

// publishFile renames a file. The new name must not exist.
func publishFile(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil:
		err = os.Remove(from)
	case errors.Is(err, fs.ErrExist):
		return err
	default: // a file system without hard links
		err = os.Rename(from, to)
	}
	if err != nil {
		return err
	}
	if err := syncDirectory(filepath.Dir(to)); err != nil {
		return errors.Join(err, os.Remove(to)) // a power loss may still undo the rename
	}
	return nil
}

// syncDirectory makes the names in a directory durable.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// exported reports the content of an export. `etcdctl endpoint hashkv --rev` shows the same hash.
func (t *tool) exported(x *logstructured.Export, sum uint32, outcome string) error {
	_, err := fmt.Fprintf(t.stdout, "%s: %d entries, %d leases, revision %d, compact revision %d, hash %d: %s\n",
		t.name(), x.Len(), len(x.Leases), x.Revision, x.CompactRevision, sum, outcome)
	return err
}
