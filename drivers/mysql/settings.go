package mysql

import (
	"context"
	"database/sql/driver"
	"slices"
	"strings"
)

// sessionSettings are set in every session, as far as the server has them.
var sessionSettings = []setting{
	// All servers have these, and the driver depends on their values.
	{"sql_mode", "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"},
	{"time_zone", "'+00:00'"},
	{"autocommit", "1"},
	{"unique_checks", "1"},
	{"sql_safe_updates", "0"},
	// With CHAIN, COMMIT would begin a new transaction and leave the next statement uncommitted.
	{"completion_type", "'NO_CHAIN'"},
	// A statement that has outlived its connection must not wait long for a lock.
	{"innodb_lock_wait_timeout", "10"},
	{"lock_wait_timeout", "10"},
	// A scan may take long, both on the server (MySQL, MariaDB) and in the process that receives the rows.
	{"max_execution_time", "0"},
	{"max_statement_time", "0"},
	{"net_write_timeout", "600"},
	{"net_read_timeout", "600"},
	{"wait_timeout", idleSession},
	{"idle_transaction_timeout", "0"},
	{"idle_readonly_transaction_timeout", "0"},
	{"idle_write_transaction_timeout", "0"},
	// Look up lists of positions in the primary key instead of joining them.
	{"optimizer_switch", "'default'"},
	{"in_predicate_conversion_threshold", "0"},
	{"range_optimizer_max_mem_size", "8388608"},
	// Galera: a node outside the majority must not answer reads.
	{"wsrep_dirty_reads", "0"},
	// MySQL 8 caches table sizes for a day.
	{"information_schema_stats_expiry", "0"},
}

// engineOf returns the engine of a server with these variables.
func engineOf(variables map[string]string) engine {
	switch {
	case isOn(variables["wsrep_on"]):
		return galera{}
	case len(present(variables, tiDBSettings)) > 0:
		return tiDB{}
	}
	return innoDB{}
}

// idleSession is how long the server keeps a connection without statements, in seconds.
const idleSession = "28800"

// initialize chooses the session's engine and makes the session independent of the server's defaults. syncWait is the
// connector's.
func (s *session) initialize(ctx context.Context, syncWait int) error {
	if err := s.liftLimits(ctx); err != nil {
		return err
	}
	names := []string{"wsrep_on", "read_only"}
	for _, setting := range slices.Concat(sessionSettings, tiDBSettings) {
		names = append(names, setting.name)
	}
	has, err := s.variables(ctx, names...)
	if err != nil {
		return err
	}
	s.engine = engineOf(has)
	s.readOnly = !slices.Contains([]string{"", "0", "OFF"}, strings.ToUpper(has["read_only"]))
	// SET NAMES binary: parameters are bytes that the server must not convert.
	set := []string{"NAMES binary"}
	for _, setting := range append(present(has, sessionSettings), s.engine.settings(has, syncWait)...) {
		set = append(set, "SESSION "+setting.name+" = "+setting.value)
	}
	if err := s.execute(ctx, "SET "+strings.Join(set, ", ")); err != nil {
		return err
	}
	// READ COMMITTED: each statement reads the commits before its start, without locks. READ WRITE: the server's
	// default may be READ ONLY.
	return s.execute(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
}

// liftLimits lifts the limits that also apply to SHOW, which would hide variables. A row limit would also truncate
// scans without an error.
func (s *session) liftLimits(ctx context.Context) (err error) {
	const limits = "SET SESSION sql_select_limit = 18446744073709551615"
	for _, set := range []string{
		limits + ", SESSION sql_big_selects = 1, SESSION max_statement_time = 0", // MariaDB
		limits + ", SESSION sql_big_selects = 1, SESSION max_execution_time = 0", // MySQL, TiDB
		limits,
	} {
		if err = s.execute(ctx, set); !isNumber(err, errUnknownVariable) {
			break
		}
	}
	return err
}

// variables returns the session variables among names that the server has. It uses SHOW because selecting a variable
// that does not exist is an error, and OR because MariaDB may turn IN into a join that finds nothing here
// (in_predicate_conversion_threshold, optimizer_switch).
func (s *session) variables(ctx context.Context, names ...string) (map[string]string, error) {
	values := map[string]string{}
	query := "SHOW VARIABLES WHERE Variable_name = '" + strings.Join(names, "' OR Variable_name = '") + "'"
	err := s.query(ctx, query, nil, func(row []driver.Value) error {
		values[strings.ToLower(text(row[0]))] = text(row[1])
		return nil
	})
	return values, err
}

func isOn(value string) bool { return value == "1" || strings.EqualFold(value, "ON") }
