// Package server starts what the storage tests run against, as processes of their own: stele on a SQLite file or on a
// database server that scripts/databases provides, one or several replicas of it, or etcd.
//
//   - STELE_TEST_DATABASE is sqlite (the default), postgres, mariadb or another kind that scripts/databases knows; or etcd.
//   - STELE_TEST_REPLICAS is the number of stele processes on one database.
//   - STELE_TEST_BINARY names a stele to run instead of one that is built from the tree.
//
// The packages of the tests' main module do the same and more, but to import them would raise the versions of gRPC and
// of etcd's client here.
package server
