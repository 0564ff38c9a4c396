package drivers

import (
	"fmt"
	"regexp"
	"strings"
)

// Split returns the scheme that names the driver ("sqlite", "postgres" or "mysql") and what follows "://". Its errors wrap [ErrUnsupported]
// and show nothing of the DSN but the scheme.
func Split(dsn string) (scheme, rest string, err error) {
	if dsn == "" {
		dsn = DefaultDSN
	}
	scheme, rest, found := strings.Cut(dsn, "://")
	if !found {
		// A "PATH" or "PATH?options", as in kine's own default. What looks like an endpoint of a server is more
		// likely one without its scheme than a file, and a password in it would become the name of a file.
		if notPath.MatchString(dsn) {
			return "", "", fmt.Errorf("data source name has no scheme: write %s (%w)", forms, ErrUnsupported)
		}
		return "sqlite", dsn, nil
	}
	switch scheme {
	case "sqlite", "postgres", "mysql":
		return scheme, rest, nil
	case "litestream":
		return "sqlite", withOption(rest, "checkpoint=external"), nil
	case "postgresql":
		return "postgres", rest, nil
	case "mariadb":
		return "mysql", rest, nil
	case "nats", "http", "https", "t4", "split":
		return "", "", fmt.Errorf("%s://...: Stele does not use this kind of store; write %s (%w)", scheme, forms, ErrUnsupported)
	}
	if !validScheme.MatchString(scheme) { // "user:password@tcp(host)/db?x=a://b"
		return "", "", fmt.Errorf("data source name has no scheme: write %s (%w)", forms, ErrUnsupported)
	}
	return "", "", fmt.Errorf("unknown scheme %q: write %s (%w)", scheme, forms, ErrUnsupported)
}

// validScheme matches what can be shown of a DSN without showing a password.
var validScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)

// notPath matches what is no path of a file although it has no "://".
var notPath = regexp.MustCompile(`(?i)` + strings.Join([]string{
	`@`, // go-sql-driver's user:password@tcp(host)/database
	`^[^/]*\b(tcp|unix)\(`,
	`^(sqlite3?|litestream|postgres|postgresql|mysql|mariadb|nats|https?|t4|split)(:|$)`,
	`(^|\s)(dbname|host|hostaddr|port|user|password|passfile|service|options|sslmode|sslrootcert|connect_timeout)\s*=`, // libpq's
	`^[a-z0-9.-]+:[0-9]+(/|$)`, // host:port/database
}, "|"))

// forms are what a DSN can look like.
const forms = "sqlite://PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE or mysql://USER:PASSWORD@tcp(HOST:PORT)/DATABASE"

func withOption(dsn, option string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&" + option
	}
	return dsn + "?" + option
}
