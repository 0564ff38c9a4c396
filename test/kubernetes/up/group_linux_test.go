package up

import "syscall"

// group makes a process group, so that signals of the test reach one process. It ends the script when the thread that
// started it ends, which is when the test process ends.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
