//go:build !linux

package stele

import "syscall"

func parentDeathSignal() *syscall.SysProcAttr { return nil }
