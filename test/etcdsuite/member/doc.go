// Package member runs the members of the clusters of etcd's tests as processes of their own. The tests' framework is
// patched to use a [Server] where it has an etcd of its own process.
package member
