// Package soak measures a stele process over time and at size: memory, file size, start, and a full disk.
//
// It is built with the tag "soak" and without the race detector, because it measures:
//
//	go test -tags soak -v ./soak
//
// STELE_TEST_SOAK_DURATION (45s) is the length of the soak itself. The disk test mounts a small tmpfs, as root.
package soak
