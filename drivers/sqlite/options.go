package sqlite

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// option applies the value of one option of a DSN. It reports whether the driver honours the value; Open warns about
// values that it ignores. An error makes Open refuse the DSN.
type option func(cfg *config, value string) (honoured bool, err error)

// options are the options of this driver and of the two drivers that kine can be built with: mattn/go-sqlite3 and
// modernc.org/sqlite. A PRAGMA, which modernc.org/sqlite accepts as _pragma=name(value), has the key _name here.
var options = map[string]option{
	"checkpoint":   checkpointOption,
	"busy_timeout": busyTimeoutOption, "_busy_timeout": busyTimeoutOption, "_timeout": busyTimeoutOption,
	"_kine_disable_wal_autocheckpoint": func(cfg *config, _ string) (bool, error) {
		cfg.externalCheckpoint = true
		return true, nil
	},

	"_journal_mode": only("wal"), "_journal": only("wal"),
	"_synchronous": only("full", "2"), "_sync": only("full", "2"),
	"_locking_mode": only("normal"), "_locking": only("normal"),
	"_secure_delete": only("default", "false", "off", "no", "0"),
	// The driver does all checkpoints itself.
	"_wal_autocheckpoint": only(),

	"mode": func(cfg *config, value string) (bool, error) {
		switch value {
		case "rwc":
			return true, nil
		case "rw":
			cfg.mustExist = true
			return true, nil
		case "ro":
			return false, errors.New("the log must be writable; use mode=rwc or leave the option out")
		case "memory":
			return false, errors.New(
				"the log must be in a file, or it is lost with the process; use mode=rwc or leave the option out")
		}
		return false, errors.New("the only values are rw and rwc")
	},
	"vfs": func(_ *config, value string) (bool, error) {
		if value == "" || value == "unix" {
			return true, nil
		}
		return false, errors.New("the only virtual file system is unix")
	},
	"immutable":        falseOnly("the log must be writable"),
	"_query_only":      falseOnly("the log must be writable"),
	"nolock":           falseOnly("the file must be locked, or a second process damages it"),
	"_writable_schema": falseOnly("the tables must not be changed behind SQLite's back"),
	"_auth":            noSecret, "_auth_user": noSecret, "_auth_pass": noSecret, "_auth_crypt": noSecret,
	"_auth_salt": noSecret, "_key": noSecret, "_hexkey": noSecret,
}

// harmless are options of other drivers and PRAGMAs that do not affect this driver.
var harmless = []string{
	// kine
	"_kine_disable_compact_wal_checkpoint", "_kine_disable_startup_vacuum",
	// both drivers
	"_txlock", "cache", "psow",
	// mattn/go-sqlite3
	"_stmt_cache_size", "_loc", "_mutex", "_cslike", "_defer_fk", "_fk", "_rt", "_vacuum",
	// modernc.org/sqlite
	"_time_format", "_time_integer_format", "_timezone", "_inttotime", "_texttotime", "_error_rc", "_dqs",
	// PRAGMAs
	"_analysis_limit", "_auto_vacuum", "_automatic_index", "_cache_size", "_cache_spill", "_case_sensitive_like",
	"_cell_size_check", "_checkpoint_fullfsync", "_defer_foreign_keys", "_encoding", "_foreign_keys", "_fullfsync",
	"_hard_heap_limit",
	"_ignore_check_constraints", "_journal_size_limit", "_legacy_alter_table", "_mmap_size", "_optimize", "_page_size",
	"_read_uncommitted", "_recursive_triggers", "_reverse_unordered_selects", "_soft_heap_limit", "_temp_store",
	"_threads", "_trusted_schema",
}

// applyOptions applies the options of a DSN in order of their names, and returns the names of the ignored ones.
func (cfg *config) applyOptions(query url.Values) (ignored []string, err error) {
	names := make([]string, 0, len(query))
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := query[name]
		if name != "_pragma" {
			values = values[len(values)-1:] // the last one counts
		}
		for _, value := range values {
			known := name
			if name == "_pragma" {
				known, value = splitPragma(value)
			}
			apply, ok := options[known]
			switch {
			case slices.Contains(harmless, known):
				continue
			case ok:
			case name == "_pragma":
				return nil, fmt.Errorf("sqlite: unknown option _pragma=%s", strings.TrimPrefix(known, "_"))
			default:
				return nil, fmt.Errorf(
					"sqlite: unknown option %q (known: checkpoint, busy_timeout, and those of kine)", name)
			}
			honoured, err := apply(cfg, value)
			if err != nil {
				return nil, fmt.Errorf("sqlite: option %s: %w", known, err)
			}
			if !honoured {
				ignored = append(ignored, known)
			}
		}
	}
	return ignored, nil
}

// splitPragma returns the option and value for "name(value)", "name=value" or "name".
func splitPragma(pragma string) (name, value string) {
	name, value = pragma, ""
	if at := strings.IndexAny(pragma, "(="); at >= 0 {
		name, value = pragma[:at], strings.TrimSuffix(pragma[at+1:], ")")
	}
	return "_" + strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `'"`)
}

func checkpointOption(cfg *config, value string) (bool, error) {
	if value != "external" {
		return false, fmt.Errorf("%q: the only value is external", value)
	}
	cfg.externalCheckpoint = true
	return true, nil
}

func busyTimeoutOption(cfg *config, value string) (_ bool, err error) {
	if cfg.busyTimeout, err = parseTimeout(value); err != nil {
		return false, fmt.Errorf("%q: %w", value, err)
	}
	return true, nil
}

// only honours the given values, in any case, which match what the driver does anyway.
func only(values ...string) option {
	return func(_ *config, value string) (bool, error) {
		return slices.Contains(values, strings.ToLower(value)), nil
	}
}

// falseOnly refuses any value but false.
func falseOnly(reason string) option {
	return func(_ *config, value string) (bool, error) {
		switch strings.ToLower(value) {
		case "0", "false", "no", "off":
			return true, nil
		}
		return false, errors.New(reason + "; leave the option out")
	}
}

// noSecret refuses an option that protects the file with a password. The error does not contain the value.
func noSecret(*config, string) (bool, error) {
	return false, errors.New("the file has no users and no encryption; " +
		"leave the option out and protect the file by its permissions")
}
