package process

import "syscall"

// parentDeathSignal asks the kernel to kill the server when the thread that started it is gone. That is the end
// of the test process: threads of a Go program stay, except those locked by a goroutine that has ended.
func parentDeathSignal() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
