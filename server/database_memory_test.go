//go:build memlog

package server

import (
	"testing"

	"github.com/stele-db/stele/drivers/memory"
	"github.com/stele-db/stele/logstructured/log"
)

// openLog opens a log in memory. With SQLite, compiling with the fuzzer's instrumentation takes a quarter of an hour:
//
//	go test -tags memlog -run - -fuzz FuzzTxnValidation -fuzzminimizetime 1s ./server
func openLog(testing.TB) log.Log { return new(memory.Database).Open() }
