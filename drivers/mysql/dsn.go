package mysql

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/drivers/internal/migrations"
)

const (
	defaultDatabase = "kubernetes"
	// kine's default server.
	defaultServer = "root@unix(/var/run/mysqld/mysqld.sock)/"

	dialTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
)

// config is the configuration that the DSN and the options give.
type config struct {
	// dsn and opts are the sources of the other fields.
	dsn  string
	opts connect.Options

	// servers differ only in their addresses; the first one that answers is used.
	servers  []*mysql.Config
	database string
	prefix   string
	// serverName is the name that the servers' certificates must have; "" means each server's host.
	serverName string
	// maxValue is the largest value that must fit, in bytes.
	maxValue int
	// besideKine allows creating a log in a database that contains kine's table.
	besideKine bool
}

// errDSN quotes neither the DSN nor the parser's error, because either may contain the password.
var errDSN = errors.New("mysql: the DSN is not of the form " +
	"mysql://user:password@tcp(host:port)/database?option=value (several hosts are separated by commas; " +
	"special characters in the database's name and in values of options are URL-encoded)")

// newConfig returns the configuration that a DSN and options give.
func newConfig(dsn string, opts connect.Options) (*config, error) {
	cfg, err := parseDSN(dsn)
	if err == nil {
		err = cfg.apply(opts)
	}
	if err != nil {
		return nil, err
	}
	return cfg, nil
}

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
	_, options, _ := strings.Cut(dsn[strings.LastIndexByte(dsn, '/'):], "?")
	if strings.HasPrefix(options, "strict=") || strings.Contains(options, "&strict=") {
		return nil, errors.New(
			"mysql: option strict is no longer known: leave it out, statements always run in strict mode")
	}
	server, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errDSN
	}
	cfg := &config{dsn: given, database: server.DBName, maxValue: connect.DefaultMaxValueBytes}
	if cfg.database == "" {
		cfg.database = defaultDatabase
	}
	if cfg.prefix, err = driver.TakePrefix(server.Params); err != nil {
		return nil, fmt.Errorf("mysql: %w", err)
	}
	cfg.serverName = server.Params["server_name"]
	delete(server.Params, "server_name")
	server.DBName = cfg.database
	// This package relies on these settings, whatever the DSN says.
	server.InterpolateParams = false // prepared statements are exact for bytes, and cheaper
	server.MultiStatements = false
	server.ClientFoundRows = false
	server.ParseTime = false
	server.RejectReadOnly = false // it would hide the server's error
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
			one.TLS.ServerName = cfg.nameOf(one) // the parser derives no usable name from several addresses
		}
		cfg.servers = append(cfg.servers, one)
	}
	return cfg, nil
}

// addresses splits a list such as "a,b:1", which the parser takes for one address.
func addresses(server *mysql.Config) []string {
	if server.Net != "tcp" || !strings.Contains(server.Addr, ",") {
		return []string{server.Addr}
	}
	list := server.Addr
	if inner, ok := strings.CutSuffix(list, "]:3306"); ok && strings.HasPrefix(inner, "[") {
		list = inner[1:] // the parser has added a port to the list
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

// apply adds the options to what the DSN says.
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
			return errors.New("mysql: option server_name needs a certificate that is verified: " +
				"use --ca-file, or tls=true in the endpoint")
		}
	}
	return nil
}

// reload returns the servers with the current contents of the files that the options name (password and certificates).
func (cfg *config) reload() ([]*mysql.Config, error) {
	fresh, err := newConfig(cfg.dsn, cfg.opts)
	if err != nil {
		return nil, err
	}
	return fresh.servers, nil
}

// sql inserts the table prefix into a statement.
func (cfg *config) sql(statement string) string { return migrations.WithPrefix(statement, cfg.prefix) }

// schemes are the URL schemes of the driver's DSNs.
var schemes = []string{"mysql", "mariadb"}
