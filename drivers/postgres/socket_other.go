//go:build !linux

package postgres

import "syscall"

func controlSocket(string, string, syscall.RawConn) error { return nil }
