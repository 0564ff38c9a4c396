package kubernetes

import "syscall"

// group makes a process the first of a group of its own. The kernel kills it when the thread that started it ends:
// threads of a Go program stay until the program ends, but for those that a goroutine had locked.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
