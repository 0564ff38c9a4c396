// Package auth is etcd's auth store: users, roles, permissions on ranges of keys, passwords and tokens. It knows
// nothing of requests; package server asks it.
//
// Its state lives in records of the log (see logstructured.Records), so that it holds on all replicas from the same
// place between the writes on:
//
//	auth/users/NAME    a marshalled authpb.User
//	auth/roles/NAME    a marshalled authpb.Role
//	auth/enabled       the byte 1; absent means disabled
//	auth/revision      the auth revision, 8 bytes, big endian; absent means 1
//	auth/secret        what simple tokens are made from; absent until the first one, and after auth was disabled
//
// All but the last are what etcd keeps in its buckets auth, authUsers and authRoles, byte for byte.
//
// A [State] is made of them once for each change and never changes itself. Every edit is a function from a State to the
// changes of records that make the next one, for logstructured.Store.UpdateRecords; it checks what etcd checks, in
// etcd's order, and fails with etcd's errors of package rpctypes.
//
// Nothing here logs, and no error contains a password, a token or a key.
package auth
