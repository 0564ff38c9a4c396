package sqlite

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// config is the configuration that the DSN and the options give.
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

// The schemes of a DSN, which may also be a plain path. With the scheme litestream, Litestream does all checkpoints.
const (
	scheme           = "sqlite"
	litestreamScheme = "litestream"
)

// splitDSN splits a DSN into path and options. external reports that another program does the checkpoints.
func splitDSN(dsn string) (path, options string, external bool) {
	dsn, external = strings.CutPrefix(dsn, litestreamScheme+"://")
	if !external {
		dsn = strings.TrimPrefix(dsn, scheme+"://")
	}
	path, options, _ = strings.Cut(dsn, "?")
	return path, options, external
}

// parseDSN returns the configuration and the names of the ignored options.
func parseDSN(dsn string) (config, []string, error) {
	path, query, external := splitDSN(dsn)
	cfg := config{busyTimeout: defaultBusyTimeout, syncDir: syncDir, externalCheckpoint: external}
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

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
