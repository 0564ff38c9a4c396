// Package soak measures what a stele process needs over time and at size: memory, file size, start, and what happens
// when the disk is full. It is built with the tag "soak" and without the race detector, because figures are what it is
// about:
//
//	go test -tags soak -v ./soak
//
// STELE_TEST_SOAK_DURATION (45s) is the length of the soak itself. The disk test mounts a small tmpfs and has to be
// root.
package soak
