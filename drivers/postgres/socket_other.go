//go:build !linux

package postgres

import (
	"net"
	"syscall"
)

func controlSocket(string, string, syscall.RawConn) error { return nil }

func quietSocket(net.Conn) bool { return true }
