package drivers

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// defaultDatabase is kine's name of the database where the DSN has none.
const defaultDatabase = "kubernetes"

// Remote tells that dsn is that of a server, so that TLS, a password and a pool of connections have a meaning.
func Remote(dsn string) bool {
	scheme, _, err := Split(dsn)
	return err == nil && scheme != "sqlite"
}

// Describe says where the data of dsn is, for people: the absolute path of a file, or the scheme, hosts and database of a server.
// There is never a user, a password or an option in it (but for the prefix of the tables). Of a DSN that is wrong, or whose password could be taken for
// something else because its special characters are not escaped, nothing but the scheme is left.
func Describe(dsn string) string {
	scheme, rest, err := Split(dsn)
	if err != nil {
		before, _, found := strings.Cut(dsn, "://")
		if !found || !validScheme.MatchString(before) {
			return "..."
		}
		return before + "://..."
	}
	switch scheme {
	case "sqlite":
		path, _, _ := strings.Cut(rest, "?")
		if absolute, err := filepath.Abs(path); err == nil {
			path = absolute
		}
		return path
	case "mysql":
		return describeMySQL(rest)
	default:
		return describePostgres(scheme + "://" + rest)
	}
}

func describePostgres(dsn string) string {
	const unknown = "postgres://..."
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return unknown
	}
	hosts := []string{postgresHost(cfg.Host, cfg.Port)}
	for _, fallback := range cfg.Fallbacks { // the other hosts, and each host once more with another kind of TLS
		if host := postgresHost(fallback.Host, fallback.Port); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return described("postgres", strings.Join(hosts, ","), cfg.Database, cfg.RuntimeParams["table_prefix"])
}

// postgresHost is host:port, or the directory of a unix socket.
func postgresHost(host string, port uint16) string {
	if strings.HasPrefix(host, "/") {
		return host
	}
	return net.JoinHostPort(host, fmt.Sprint(port))
}

func describeMySQL(dsn string) string {
	if dsn == "" {
		dsn = "unix(/var/run/mysqld/mysqld.sock)/" // as package mysql and kine have it
	}
	if !strings.Contains(dsn, "/") {
		dsn += "/" // the parser wants it, and package mysql does without
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return "mysql://..."
	}
	hosts := cfg.Addr
	if several, ok := strings.CutSuffix(hosts, "]:3306"); ok && strings.Contains(hosts, ",") {
		hosts = strings.TrimPrefix(several, "[") // what the parser makes of "a:1,b:2"
	}
	return described("mysql", hosts, cfg.DBName, cfg.Params["table_prefix"])
}

func described(scheme, hosts, database, prefix string) string {
	if database == "" {
		database = defaultDatabase
	}
	if strings.Contains(hosts+database+prefix, "@") { // an end of a password, very likely
		return scheme + "://..."
	}
	text := scheme + "://" + hosts + "/" + database
	if prefix != "" {
		text += "?table_prefix=" + prefix
	}
	return text
}
