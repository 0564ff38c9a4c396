//go:build unix && !linux

package kubernetes

import "syscall"

// group puts a process into its own process group.
func group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
