// Package auth implements etcd's auth store: users, roles, permissions on ranges of keys, passwords and tokens. It does
// not know requests; package server uses it to check them.
//
// Its state is stored in records of the log (see logstructured.Records), so that a change takes effect on all replicas
// at the same position between the writes:
//
//	auth/users/NAME    a marshalled authpb.User
//	auth/roles/NAME    a marshalled authpb.Role
//	auth/enabled       the byte 1; absent means disabled
//	auth/revision      the auth revision, 8 bytes, big endian; absent means 1
//	auth/secret        the secret that seals simple tokens; absent before the first one, and after auth was disabled
//
// All but the last equal, byte for byte, the contents of etcd's buckets auth, authUsers and authRoles.
//
// A [State] is built from the records once for each change, and is immutable. Every edit is a function from a State to
// the changes of records that produce the next one, for logstructured.Store.UpdateRecords. It makes the checks that
// etcd makes, in etcd's order, and fails with etcd's errors of package rpctypes.
//
// The package logs nothing, and no error contains a password, a token or a key.
package auth
