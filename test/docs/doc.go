// Package docs runs what the documentation says. README.md and the pages of docs/ are sessions: the blocks fenced as
// `console` are run in order, page by page, in one shell in an empty directory, and their output must be what the page
// shows.
//
//   - A line that starts with "$ " is a command, the lines after it are its output, standard error included. "..." stands for
//     anything: a whole line for any number of lines, and inside a line for the rest of it.
//   - A command must succeed; what is expected to fail says `|| true`.
//   - A command that ends with & is a server: the next command waits until it serves. What it logs is not shown.
//   - A block fenced as `sh` shows commands without their output. There is a list of those, with how they are tested; another one fails
//     the test.
//   - A page that has commands for db.example:5432 or db.example:3306 gets a PostgreSQL or a MariaDB of its own from scripts/databases, with the
//     certificates in the working directory as postgres-db-ca.crt, mariadb-db-client.key and so on, and the administrator's password in the environment
//     (psql -U postgres, mariadb -u root). What the page itself starts with pg_ctl in the directory base, on port 5433, is stopped with the page.
//   - migrate.md finds kine's table in db/state.db.
//   - A page that has commands for etcd.example:2379 gets an etcd of its own.
//   - stele and etcdctl are built from this checkout. The port 2379 of the pages is replaced by a free one.
package docs
