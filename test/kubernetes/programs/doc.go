// Package programs is where the programs of the control plane are pinned: go.mod has them with exactly the dependencies
// they are released with (the etcd client above all), which is why it is a module of its own. All are tools, built as
// they are, but for the API server, which has a main of its own here, because a test wants two settings that it has no
// flags for. ../build builds them.
package programs
