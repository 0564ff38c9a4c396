package drivers

import (
	"fmt"
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
		// A "PATH" or "PATH?options" as kine's own default has it. What looks like a DSN of another
		// driver's own making ("user:password@tcp(host)/db") is more likely a forgotten scheme than a file.
		if strings.Contains(dsn, "@") {
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
	if strings.ContainsAny(scheme, ":@/") { // "user:password@tcp(host)/db?x=a://b"
		return "", "", fmt.Errorf("data source name has no scheme: write %s (%w)", forms, ErrUnsupported)
	}
	return "", "", fmt.Errorf("unknown scheme %q: write %s (%w)", scheme, forms, ErrUnsupported)
}

// forms are what a DSN can look like.
const forms = "sqlite://PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE or mysql://USER:PASSWORD@tcp(HOST:PORT)/DATABASE"

func withOption(dsn, option string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&" + option
	}
	return dsn + "?" + option
}
