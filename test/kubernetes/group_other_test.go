//go:build unix && !linux

package kubernetes

import "syscall"

// group makes a process the first of a group of its own.
func group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
