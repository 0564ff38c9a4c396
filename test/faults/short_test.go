//go:build !faults

package faults

// everything tells that the other faults and databases are tested, too.
const everything = false
