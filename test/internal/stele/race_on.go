//go:build race

package stele

const raceEnabled = true
