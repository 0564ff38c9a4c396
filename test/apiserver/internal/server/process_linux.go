package server

import "syscall"

// withParent makes the kernel end a process when the test process has ended, for any reason.
func withParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
