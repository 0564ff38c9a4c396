// Package endpoint runs Stele inside another program, as k3s does with its datastore. [Listen] opens the database,
// serves etcd's API on a socket in the working directory or at another address, and returns how to connect. When its
// context ends, everything that it started stops. Programs written for kine's package of the same name only replace the
// import path:
//
//	github.com/k3s-io/kine/pkg/endpoint  ->  github.com/stele-db/stele/pkg/endpoint
//	github.com/k3s-io/kine/pkg/client    ->  github.com/stele-db/stele/pkg/client
//	github.com/k3s-io/kine/pkg/tls       ->  github.com/stele-db/stele/pkg/tls
//
// A program that needs more options uses [Open] and [Datastore.Run], as `stele serve` does: every limit is an option
// there, and Run blocks. This package alone puts drivers, store and server together.
//
// Invariants:
//
//   - Listen and Open return an error if there is nothing to connect to. No error and no panic ends the process.
//   - After the end of the context, the server stops first and the store last. When the WaitGroup is done, everything
//     acknowledged is in the database, the socket is removed and the metrics are unregistered.
//   - Listen replaces a socket that no process serves, and returns an error for one that another process serves. It
//     waits for a socket that a previous Listen of this process is about to close.
//   - No collector is registered twice with a metrics registry, however often Listen is called.
//   - The address of the database may hold a password: no log message and no error contains it.
package endpoint
