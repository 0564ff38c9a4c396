package mysql

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/migrations"
)

const (
	defaultDatabase = "kubernetes"
	defaultPrefix   = "stele"
	// kine's default server.
	defaultServer = "root@unix(/var/run/mysqld/mysqld.sock)/"

	dialTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
)

// config is what a DSN and the options say.
type config struct {
	// dsn and opts are where the rest comes from.
	dsn  string
	opts connect.Options

	// servers are the same but for the address; the first one that answers is used.
	servers  []*mysql.Config
	database string
	prefix   string
	// serverName is the name that the servers' certificates must have, "" is each one's host.
	serverName string
	// maxValue is the largest value that must fit, in bytes.
	maxValue int
	// besideKine lets a log begin beside a table of kine's.
	besideKine bool
}

var validPrefix = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// errDSN does not quote the DSN, nor what the parser says about it, because either may hold the password.
var errDSN = errors.New("mysql: the DSN is not of the form mysql://user:password@tcp(host:port)/database?option=value " +
	"(several hosts are separated by commas; special characters in the database's name and in values of options are URL-encoded)")

func parseDSN(dsn string) (*config, error) {
	given := dsn
	for _, scheme := range schemes {
		dsn = strings.TrimPrefix(dsn, scheme+"://")
	}
	if dsn == "" {
		dsn = defaultServer
	}
	if !strings.Contains(dsn, "/") {
		dsn += "/"
	}
	if _, options, _ := strings.Cut(dsn[strings.LastIndexByte(dsn, '/'):], "?"); strings.HasPrefix(options, "strict=") || strings.Contains(options, "&strict=") {
		return nil, errors.New("mysql: option strict is no longer known: leave it out, statements always run in strict mode")
	}
	server, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errDSN
	}
	cfg := &config{dsn: given, database: server.DBName, prefix: defaultPrefix, maxValue: connect.DefaultMaxValueBytes}
	if cfg.database == "" {
		cfg.database = defaultDatabase
	}
	if prefix, ok := server.Params["table_prefix"]; ok {
		if !validPrefix.MatchString(prefix) {
			return nil, fmt.Errorf("mysql: option table_prefix=%s: want 1 to 40 of a-z, 0-9 and _, and no digit first", prefix)
		}
		cfg.prefix = prefix
		delete(server.Params, "table_prefix")
	}
	cfg.serverName = server.Params["server_name"]
	delete(server.Params, "server_name")
	server.DBName = cfg.database
	// What this package relies on, whatever the DSN says.
	server.InterpolateParams = false // prepared statements are exact for bytes, and cheaper
	server.MultiStatements = false
	server.ClientFoundRows = false
	server.ParseTime = false
	server.RejectReadOnly = false // hides what the server said
	server.AllowAllFiles = false
	server.CheckConnLiveness = true
	server.MaxAllowedPacket = 0 // ask the server
	if server.Timeout == 0 {
		server.Timeout = dialTimeout
	}
	if server.WriteTimeout == 0 {
		server.WriteTimeout = writeTimeout
	}
	for _, address := range addresses(server) {
		one := server.Clone()
		one.Addr = address
		if one.TLS != nil && !one.TLS.InsecureSkipVerify {
			one.TLS.ServerName = cfg.nameOf(one) // what the parser made of several addresses is of no use
		}
		cfg.servers = append(cfg.servers, one)
	}
	return cfg, nil
}

// addresses takes "a,b:1" apart, which the parser has taken for one address.
func addresses(server *mysql.Config) []string {
	if server.Net != "tcp" || !strings.Contains(server.Addr, ",") {
		return []string{server.Addr}
	}
	list := server.Addr
	if inner, ok := strings.CutSuffix(list, "]:3306"); ok && strings.HasPrefix(inner, "[") {
		list = inner[1:] // the parser's attempt to add a port
	}
	var found []string
	for address := range strings.SplitSeq(list, ",") {
		address = strings.TrimSpace(address)
		if address == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			address = net.JoinHostPort(strings.Trim(address, "[]"), "3306")
		}
		found = append(found, address)
	}
	return found
}

// nameOf returns the name that a server's certificate must have.
func (cfg *config) nameOf(server *mysql.Config) string {
	if cfg.serverName != "" {
		return cfg.serverName
	}
	return hostOf(server)
}

func hostOf(server *mysql.Config) string {
	host, _, err := net.SplitHostPort(server.Addr)
	if err != nil {
		return "localhost" // a socket
	}
	return host
}

// apply adds what the DSN does not say.
func (cfg *config) apply(opts connect.Options) error {
	if opts.MaxValueBytes > 0 {
		cfg.maxValue = opts.MaxValueBytes
	}
	cfg.besideKine, cfg.opts = opts.BesideKine, opts
	password, err := opts.ReadPassword()
	if err != nil {
		return fmt.Errorf("mysql: password: %w", err)
	}
	for _, server := range cfg.servers {
		if password != "" {
			server.Passwd = password
		}
		if opts.TLS.Wanted() {
			tls, err := opts.TLS.Config()
			if err != nil {
				return fmt.Errorf("mysql: %w", err)
			}
			tls.ServerName = cfg.nameOf(server)
			server.TLS = tls
			server.AllowFallbackToPlaintext = false
		}
		if cfg.serverName != "" && (server.TLS == nil || server.TLS.InsecureSkipVerify) {
			return errors.New("mysql: option server_name needs a certificate that is verified: use --ca-file, or tls=true in the endpoint")
		}
	}
	return nil
}

// again returns the servers according to what the files say now that the options name: the password and certificates.
func (cfg *config) again() ([]*mysql.Config, error) {
	fresh, err := parseDSN(cfg.dsn)
	if err == nil {
		err = fresh.apply(cfg.opts)
	}
	if err != nil {
		return nil, err
	}
	return fresh.servers, nil
}

// sql puts the table prefix into a statement of this package.
func (cfg *config) sql(statement string) string { return migrations.WithPrefix(statement, cfg.prefix) }

// schemes begin the DSNs.
var schemes = []string{"mysql", "mariadb"}
