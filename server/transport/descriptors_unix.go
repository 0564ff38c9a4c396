//go:build linux || darwin

package transport

import "syscall"

// descriptorLimit returns how many files the process may open, or 0 if that is unknown. The Go runtime raises the soft
// limit to the hard limit at startup.
func descriptorLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return limit.Cur
}
