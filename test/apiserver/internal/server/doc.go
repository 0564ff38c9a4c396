// Package server starts the servers for the storage tests, as separate processes.
//
// These are an etcd, or one or several replicas of stele on a SQLite file or on a database server of scripts/databases.
//
//   - STELE_TEST_DATABASE is sqlite (the default), postgres, mariadb or another kind of scripts/databases; or etcd.
//   - STELE_TEST_REPLICAS is the number of stele processes on one database.
//   - STELE_TEST_BINARY names a stele binary to run instead of building one.
//
// The packages of the tests' main module have the same functions, but importing them would raise the versions of gRPC
// and of etcd's client here.
package server
