package kubernetes

import "syscall"

// group puts a process into its own process group. The kernel kills the process when the thread that started it ends.
// Threads of a Go program last as long as the program, except those that a goroutine had locked.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
