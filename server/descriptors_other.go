//go:build !linux && !darwin

package server

// descriptorLimit returns 0: how many files the process may open is unknown.
func descriptorLimit() uint64 { return 0 }
