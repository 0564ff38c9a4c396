package postgres

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/driver"
)

const (
	// DefaultDatabase is the name of the database if the DSN has none. It is kine's.
	DefaultDatabase = "kubernetes"

	connectTimeout  = 5 * time.Second
	defaultMaxConns = 8
)

// config is the configuration that the DSN and the options give.
type config struct {
	// dsn and opts are the sources of the other fields.
	dsn  string
	opts connect.Options

	pool *pgxpool.Config
	// prefix begins the names of the tables. It is a valid identifier without quotes.
	prefix string
	// schema is the first element of the DSN's search_path if it is a plain name, and otherwise empty.
	schema string
	// pooler reports that the DSN declares a pooler in transaction mode, which the driver might not detect.
	pooler bool
	// besideKine allows creating a log in a database that contains kine's table.
	besideKine bool
	// maxIdle bounds the idle connections of the pools; 0 means no bound of its own.
	maxIdle int32
}

var validSchema = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

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

// parseDSN parses a DSN. pgx does most of the work; parseDSN removes Stele's options from what pgx takes for server
// settings. It does not return pgx's errors unchanged, because a malformed DSN may have a part of the password in any
// place.
func parseDSN(dsn string) (*config, error) {
	scheme, rest, found := strings.Cut(dsn, "://")
	if !found || scheme != "postgres" && scheme != "postgresql" {
		return nil, errors.New("postgres: the data source name does not begin with postgres://")
	}
	// An unescaped @ or / in the password would turn the rest of it into a host or a database name.
	before, after, _ := strings.Cut(rest, "@")
	if strings.Contains(after, "@") || after != "" && strings.Contains(before, "/") {
		return nil, errors.New("postgres: the data source name has an @ or / that belongs to the user, " +
			"the password or an option: write %40 and %2F")
	}
	pool, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("postgres: the data source name is not valid: %s", parseReason(dsn, err))
	}
	c := pool.ConnConfig
	if c.Database == "" {
		c.Database = DefaultDatabase
	}
	cfg := &config{dsn: dsn, pool: pool}
	if !strings.Contains(rest, "pool_max_conns") {
		pool.MaxConns = defaultMaxConns
	}
	if cfg.prefix, err = driver.TakePrefix(c.RuntimeParams); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	switch pooler, ok := c.RuntimeParams["pooler"]; {
	case !ok:
	case pooler == "transaction":
		cfg.pooler = true
		delete(c.RuntimeParams, "pooler")
	default:
		return nil, fmt.Errorf("postgres: option pooler=%s: the only value is transaction", pooler)
	}
	if first, _, _ := strings.Cut(c.RuntimeParams["search_path"], ","); validSchema.MatchString(first) {
		cfg.schema = first
	}
	if _, ok := c.RuntimeParams["application_name"]; !ok && !cfg.pooler {
		c.RuntimeParams["application_name"] = "stele"
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	c.DialFunc = dialer(c.ConnectTimeout).DialContext
	return cfg, nil
}

// parseReason returns pgx's reason for rejecting a DSN. It omits the DSN and reasons that quote parts of it.
func parseReason(dsn string, err error) string {
	const quotesPieces = "failed to parse as URL"
	var parse *pgconn.ParseConfigError
	if !errors.As(err, &parse) {
		return "one of its pool options is malformed"
	}
	reason := strings.TrimPrefix(parse.Error(), pgconn.NewParseConfigError(dsn, "", nil).Error())
	if strings.HasPrefix(reason, quotesPieces) || strings.Contains(reason, "`") {
		return "write postgres://USER:PASSWORD@HOST:PORT/DATABASE?option=value, special characters percent-encoded"
	}
	return reason
}

// apply overrides the DSN with the options.
func (cfg *config) apply(opts connect.Options) error {
	cfg.opts = opts
	c := cfg.pool.ConnConfig
	password, err := opts.ReadPassword()
	if err != nil {
		return fmt.Errorf("postgres: password: %w", err)
	}
	if password != "" {
		c.Password = password
	}
	cfg.besideKine = opts.BesideKine
	if opts.TLS.Wanted() {
		if err := applyTLS(c, opts.TLS); err != nil {
			return err
		}
	}
	p := cfg.pool
	if opts.Pool.MaxOpen > 0 {
		p.MaxConns = int32(min(opts.Pool.MaxOpen, 1<<16))
	}
	if keep := opts.Pool.MaxIdle; keep > 0 {
		cfg.maxIdle = int32(min(keep, 1<<16))
	}
	if opts.Pool.MaxLifetime > 0 {
		p.MaxConnLifetime = opts.Pool.MaxLifetime
	}
	if opts.Pool.MaxIdleTime > 0 {
		p.MaxConnIdleTime = opts.Pool.MaxIdleTime
	}
	return nil
}

// reload returns the configuration with the current contents of the files that the DSN and the options name (passwords
// and certificates).
func (cfg *config) reload() (*pgconn.Config, error) {
	fresh, err := newConfig(cfg.dsn, cfg.opts)
	if err != nil {
		return nil, err
	}
	return &fresh.pool.ConnConfig.Config, nil
}

// applyTLS requires TLS for every host, whatever sslmode says, and removes the fallbacks without TLS.
func applyTLS(c *pgx.ConnConfig, t connect.TLS) error {
	wanted, err := t.Config()
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	type address struct {
		host string
		port uint16
	}
	hosts := []*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}
	seen := map[address]bool{{c.Host, c.Port}: true}
	for _, f := range c.Fallbacks {
		at := address{f.Host, f.Port}
		if !seen[at] {
			seen[at] = true
			hosts = append(hosts, f)
		}
	}
	for _, h := range hosts {
		if network, _ := pgconn.NetworkAddress(h.Host, h.Port); network == "unix" {
			h.TLSConfig = nil
			continue
		}
		h.TLSConfig = mergeTLS(wanted, h.TLSConfig, h.Host)
	}
	c.Host, c.Port, c.TLSConfig = hosts[0].Host, hosts[0].Port, hosts[0].TLSConfig
	c.Fallbacks = hosts[1:]
	return nil
}

// mergeTLS adds the DSN's TLS settings to those of the options, where the options have none. It verifies the server's
// certificate unless the options disable that.
func mergeTLS(wanted, dsn *tls.Config, host string) *tls.Config {
	merged := wanted.Clone()
	merged.ServerName = host
	if dsn != nil {
		if merged.RootCAs == nil {
			merged.RootCAs = dsn.RootCAs
		}
		if merged.Certificates == nil {
			merged.Certificates = dsn.Certificates
		}
		merged.NextProtos = dsn.NextProtos
	}
	return merged
}

// dialer makes connections that detect a lost peer. It uses keep-alive probes on idle connections and, on Linux, bounds
// the time that sent data may remain unacknowledged.
func dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout: timeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable:   true,
			Idle:     5 * time.Second,
			Interval: 2 * time.Second,
			Count:    4,
		},
		Control: controlSocket,
	}
}

// userTimeout is how long sent data may remain unacknowledged.
const userTimeout = 10 * time.Second

func quote(identifier string) string { return pgx.Identifier{identifier}.Sanitize() }

func (cfg *config) createDatabase() string {
	return "CREATE DATABASE " + quote(cfg.pool.ConnConfig.Database)
}

// createSchema returns the statement that creates the tables' schema, or "" if the schema always exists.
func (cfg *config) createSchema() string {
	if cfg.schema == "" || cfg.schema == "public" {
		return ""
	}
	return "CREATE SCHEMA IF NOT EXISTS " + quote(cfg.schema)
}
