// Package benchmark pins etcd's benchmark tool with the dependencies that it was released with. Its module is the root
// of etcd's repository, of which the newest version that Go's module mirror has is 3.6.8.
package benchmark
