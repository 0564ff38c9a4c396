// Package docs runs the commands in the documentation.
//
// README.md and the pages of docs/ are sessions: the blocks fenced as `console` are run in order, page by page, in one
// shell in an empty directory, and their output must be the output on the page.
//
//   - A line that starts with "$ " is a command; the lines after it are its output, including standard error. "..."
//     stands for anything: as a line for any number of lines, and inside a line for the rest of it.
//   - A command must succeed; one that is expected to fail ends with `|| true`.
//   - A command that ends with & is a server: the next command waits until it serves. Its log is not output.
//   - A block fenced as `sh` has commands without their output. A list says how each is tested; a block that is not in
//     the list fails the test.
//   - A page with commands for db.example:5432 or db.example:3306 gets a PostgreSQL or a MariaDB of its own from
//     scripts/databases. The certificates are in the working directory as postgres-db-ca.crt, mariadb-db-client.key and
//     so on, and the administrator's password is in the environment (psql -U postgres, mariadb -u root). A server that
//     the page starts with pg_ctl in the directory base, on port 5433, is stopped with the page.
//   - migrate.md finds kine's table in db/state.db.
//   - A page with commands for etcd.example:2379 gets an etcd of its own.
//   - stele and etcdctl are built from this checkout. A free port replaces the port 2379 of the pages.
package docs
