package sqlite

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// config is what a DSN and the options say.
type config struct {
	path               string // absolute
	externalCheckpoint bool
	busyTimeout        time.Duration
	checkpointInterval time.Duration
	besideKine         bool
	mustExist          bool // a missing file is an error

	// For tests only.
	vfs         string // SQLite's name of the virtual file system, "" is the default
	synchronous string // "" is FULL
	syncDir     func(dir string) error
}

const defaultBusyTimeout = 5 * time.Second

// parseDSN returns the configuration and the names of the options that were ignored.
func parseDSN(dsn string) (config, []string, error) {
	path, query, _ := strings.Cut(dsn, "?")
	cfg := config{busyTimeout: defaultBusyTimeout, syncDir: syncDir}
	if path == "" || path == ":memory:" || strings.HasPrefix(path, "file:") {
		return cfg, nil, fmt.Errorf("sqlite: %q is not the path of a file", path)
	}
	var err error
	if cfg.path, err = filepath.Abs(path); err != nil {
		return cfg, nil, fmt.Errorf("sqlite: %w", err)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return cfg, nil, fmt.Errorf("sqlite: options of %s: %w", cfg.path, err)
	}
	ignored, err := cfg.applyOptions(values)
	return cfg, ignored, err
}

func parseTimeout(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if ms, intErr := strconv.Atoi(value); intErr == nil {
		d, err = time.Duration(ms)*time.Millisecond, nil
	}
	if err == nil && d < 0 {
		err = errors.New("is negative")
	}
	return d, err
}

// Path returns the absolute path of the file that a DSN names.
func Path(dsn string) (string, error) {
	cfg, _, err := parseDSN(dsn)
	return cfg.path, err
}
