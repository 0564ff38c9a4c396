// Package leases measures many leases in lease mode etcd.
//
// It measures the time and memory to grant them, the database's load from keep-alives, the start of a server with them,
// and their expiry.
//
// STELE_TEST_LEASES is the number of leases, and STELE_TEST_DATABASE the kind of database. Without them the number is
// small, and the tests check only what must always hold.
package leases
