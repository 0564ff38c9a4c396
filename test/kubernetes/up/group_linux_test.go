package up

import "syscall"

// group makes a process group, so that what the test sends reaches one process, and ends the script when the thread of
// its start is gone, which is the end of the test process.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
