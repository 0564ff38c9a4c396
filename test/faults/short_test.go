//go:build !faults

package faults

// everything is true if the other faults and databases are tested too.
const everything = false
