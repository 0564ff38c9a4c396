//go:build !linux

package process

import "syscall"

func parentDeathSignal() *syscall.SysProcAttr { return nil }
