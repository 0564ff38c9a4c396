//go:build !linux && !darwin

package transport

// descriptorLimit returns 0, because the limit of open files is unknown.
func descriptorLimit() uint64 { return 0 }
