package process

import "syscall"

// parentDeathSignal makes the kernel kill the server when the thread that started it ends. That is when the test
// process ends: a Go program keeps its threads, except those locked by a goroutine that has ended.
func parentDeathSignal() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
