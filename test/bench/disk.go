package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fileSystem returns the name of the file system of dir and whether it is on a disk. In memory a sync costs nothing, so
// figures of durable writes are worthless there.
func fileSystem(dir string) (name string, disk bool, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", false, fmt.Errorf("statfs %s: %w", dir, err)
	}
	switch int64(st.Type) { //nolint:unconvert // the type differs by architecture
	case unix.TMPFS_MAGIC:
		return "tmpfs", false, nil
	case unix.RAMFS_MAGIC:
		return "ramfs", false, nil
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", true, nil
	case unix.XFS_SUPER_MAGIC:
		return "xfs", true, nil
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", true, nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs", true, nil
	}
	return fmt.Sprintf("type %#x", st.Type), true, nil
}

// makeRunDir creates an empty directory on a disk, below parent or, if that is empty, below the first of the usual
// places that is on a disk.
func makeRunDir(parent string) (string, error) {
	if parent != "" {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return "", err
		}
		name, disk, err := fileSystem(parent)
		if err != nil {
			return "", err
		}
		if !disk {
			return "", fmt.Errorf("%s is on %s, not on a disk: choose another directory with -dir", parent, name)
		}
		return os.MkdirTemp(parent, "stele-bench-")
	}
	for _, place := range []string{os.TempDir(), "/var/tmp", "."} {
		if _, disk, err := fileSystem(place); err == nil && disk {
			return os.MkdirTemp(place, "stele-bench-")
		}
	}
	return "", errors.New("no temporary directory is on a disk: choose one with -dir")
}

// syncLatency returns the median time of appending 4 KiB to a file in dir and syncing it. No durable write can be
// faster.
func syncLatency(dir string) (_ time.Duration, err error) {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}()
	block := make([]byte, 4096)
	times := make([]time.Duration, 100)
	for i := range times {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return percentile(times, 50), nil
}

// flushDisk writes back the dirty pages of the file system of dir, so that one server's unsynced pages are not written
// during the next one's measurement.
func flushDisk(dir string) (err error) {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return unix.Syncfs(int(f.Fd()))
}

// deviceWritten returns the number of bytes that all processes have written to the device of dir since the system
// started, or 0 if the file system has no single device with a counter.
func deviceWritten(dir string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, fmt.Errorf("stat %s: %w", dir, err)
	}
	//nolint:unconvert // the type differs by architecture
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(uint64(st.Dev)),
		unix.Minor(uint64(st.Dev))))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	// The seventh number is the number of sectors of 512 bytes, on every device; see the kernel's
	// Documentation/block/stat.rst.
	fields := strings.Fields(string(text))
	if len(fields) < 7 {
		return 0, fmt.Errorf("the device of %s counts %d things", dir, len(fields))
	}
	sectors, err := strconv.ParseInt(fields[6], 10, 64)
	return sectors * 512, err
}

// diskSize returns the number of bytes of dir's files on the disk.
func diskSize(dir string) (int64, error) {
	var total int64
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // a server removed it meanwhile
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			if errors.Is(err, unix.ENOENT) {
				return nil
			}
			return fmt.Errorf("stat %s: %w", path, err)
		}
		total += st.Blocks * 512
		return nil
	})
	return total, err
}
