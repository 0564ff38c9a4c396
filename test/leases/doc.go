// Package leases looks at many leases of mode etcd: how long they take to grant and what memory, what keeping them
// alive costs the database, how long a start takes with them, and what it takes to let all of them expire.
//
// STELE_TEST_LEASES is their number, and STELE_TEST_DATABASE where they are; without them there are so few that only
// what must hold is looked at.
package leases
