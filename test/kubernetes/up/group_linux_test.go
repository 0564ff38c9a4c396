package up

import "syscall"

// group puts a process into its own process group, so that signals to the test do not reach it. The process gets
// SIGTERM when the thread that started it ends, which is when the test process ends.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
