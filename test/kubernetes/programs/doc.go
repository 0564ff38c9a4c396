// Package programs is where the versions of the control plane's programs are pinned: go.mod has the programs of Kubernetes as tools, with exactly
// the dependencies they are released with (the etcd client above all), which is why it is a module of its own. Nothing imports it; ../build builds
// the programs from here.
package programs
