// Package programs pins the programs of the control plane. It is a module of its own, so that it has exactly the
// dependencies that the programs are released with, above all the etcd client. The programs are tools that are built
// unchanged, except the API server: its main package is here, because a test needs two settings that have no flags.
// ../build builds all of them.
package programs
