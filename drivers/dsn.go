package drivers

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stele-db/stele/drivers/internal/driver"
)

// ErrUnsupported means that this version does not support the database of the DSN.
var ErrUnsupported = errors.New("database is not supported")

// find returns the driver of a DSN and the complete DSN. Its errors wrap [ErrUnsupported] and contain nothing of the
// DSN except the scheme.
func find(dsn string) (*driver.Driver, string, error) {
	if dsn == "" {
		dsn = DefaultDSN
	}
	scheme, _, found := strings.Cut(dsn, "://")
	switch {
	case !found && !notPath.MatchString(dsn): // a "PATH" or "PATH?options", as kine's default
		return files, dsn, nil
	case !found, !validScheme.MatchString(scheme): // "user:password@tcp(host)/db?x=a://b"
		return nil, "", fmt.Errorf("data source name has no scheme: write %s (%w)", forms(), ErrUnsupported)
	}
	for _, d := range all {
		if slices.Contains(d.Schemes, scheme) {
			return d, dsn, nil
		}
	}
	if slices.Contains(kineSchemes, scheme) {
		return nil, "", fmt.Errorf("%s://...: Stele does not use this kind of store; write %s (%w)",
			scheme, forms(), ErrUnsupported)
	}
	return nil, "", fmt.Errorf("unknown scheme %q: write %s (%w)", scheme, forms(), ErrUnsupported)
}

// kineSchemes are schemes that kine supports and Stele does not.
var kineSchemes = []string{"nats", "http", "https", "t4", "split"}

// validScheme matches a scheme that cannot contain a password, so that it is safe to show.
var validScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)

// notPath matches DSNs without "://" that are more likely a server's address than a file's path. A password in one of
// them would become part of a file name.
var notPath = regexp.MustCompile(`(?i)` + strings.Join([]string{
	`@`, // go-sql-driver's user:password@tcp(host)/database
	`^[^/]*\b(tcp|unix)\(`,
	`^(sqlite3|` + strings.Join(append(schemes(), kineSchemes...), "|") + `)(:|$)`,
	// libpq's
	`(^|\s)(dbname|host|hostaddr|port|user|password|passfile|service|options|sslmode|sslrootcert|connect_timeout)\s*=`,
	`^[a-z0-9.-]+:[0-9]+(/|$)`, // host:port/database
}, "|"))

func schemes() []string {
	var schemes []string
	for _, d := range all {
		schemes = append(schemes, d.Schemes...)
	}
	return schemes
}

// forms returns the forms of a DSN, for error messages.
func forms() string {
	forms := make([]string, len(all))
	for i, d := range all {
		forms[i] = d.Form
	}
	last := len(forms) - 1
	return strings.Join(forms[:last], ", ") + " or " + forms[last]
}
