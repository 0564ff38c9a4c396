// Package endpoint runs Stele inside another program, as k3s does with its datastore. [Listen] opens the database,
// serves etcd's API on a socket in the working directory (or wherever Config says), and returns how to connect; when
// its context ends everything that it started stops. Its fields are those that programs written for kine's package of
// the same name fill in, so that they replace an import path and nothing else:
//
//	github.com/k3s-io/kine/pkg/endpoint  ->  github.com/stele-db/stele/pkg/endpoint
//	github.com/k3s-io/kine/pkg/client    ->  github.com/stele-db/stele/pkg/client
//	github.com/k3s-io/kine/pkg/tls       ->  github.com/stele-db/stele/pkg/tls
//
// A program that wants more than that, and `stele serve`, use [Open] and [Datastore.Run]: every limit is an option
// there, and Run blocks. This is the one place that puts drivers, store and server together.
//
// Invariants:
//
//   - An error before there is something to connect to is returned; no error and no panic of Stele's ends the process.
//   - Once the context has ended, the server stops first and the store last: what was acknowledged is in the database, the socket is gone, the metrics
//     are unregistered, and only then is the WaitGroup done.
//   - A socket that nobody serves on is replaced, one that somebody serves on is an error. One that a former Listen of this process is about to close
//     is waited for.
//   - Nothing is registered twice with a metrics registry, however often Listen is called.
//   - The address of the database may hold a password: it is never logged and never in an error.
package endpoint
