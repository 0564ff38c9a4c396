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
	options, err := url.ParseQuery(query)
	if err != nil {
		return cfg, nil, fmt.Errorf("sqlite: options of %s: %w", cfg.path, err)
	}
	var ignored []string
	for name, values := range options {
		value := values[len(values)-1]
		switch name {
		case "checkpoint":
			if value != "external" {
				return cfg, nil, fmt.Errorf("sqlite: option checkpoint=%s: the only value is external", value)
			}
			cfg.externalCheckpoint = true
		case "busy_timeout", "_busy_timeout", "_timeout":
			if cfg.busyTimeout, err = parseTimeout(value); err != nil {
				return cfg, nil, fmt.Errorf("sqlite: option %s=%s: %w", name, value, err)
			}
		case "_kine_disable_wal_autocheckpoint":
			cfg.externalCheckpoint = true
		case "_journal_mode", "_journal":
			if !strings.EqualFold(value, "wal") {
				ignored = append(ignored, name)
			}
		case "_synchronous", "_sync":
			if !strings.EqualFold(value, "full") {
				ignored = append(ignored, name)
			}
		case "_txlock", "_stmt_cache_size", "cache", "_kine_disable_compact_wal_checkpoint", "_kine_disable_startup_vacuum":
			// How kine's driver does what this one does in its own way.
		default:
			return cfg, nil, fmt.Errorf("sqlite: unknown option %q (known: checkpoint, busy_timeout)", name)
		}
	}
	return cfg, ignored, nil
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
