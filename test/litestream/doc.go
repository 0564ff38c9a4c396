// Package litestream pins the Litestream that the tests replicate with (see soak/litestream_test.go), in a module of
// its own: its dependencies, the SDKs of several clouds, belong nowhere else.
package litestream
