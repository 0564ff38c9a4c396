package server

import "syscall"

// withParent lets the kernel end a process when the test process is gone, however it ended.
func withParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
