// Package migrations reads the scripts that create and change the tables of a log.
//
// Scripts are in files whose names begin with a number, starting at 0001 without a gap. They only add to the tables, so
// that an earlier version of the program can use the tables unless the database requires a version that knows more
// migrations.
package migrations

import (
	"fmt"
	"io/fs"
	"strings"
)

// Statement is a statement of a script, without its semicolon.
type Statement struct {
	SQL string
	// Optional reports that "-- optional" precedes the statement. A database that does not support the statement can do
	// without it.
	Optional bool
	// Brief reports that "-- brief" precedes the statement. Its wait for locks is bounded, because all other users of
	// the table are queued behind it.
	Brief bool
}

// Migration is one script.
type Migration struct {
	Statements []Statement
	// Compatible is the number of migrations that a version must know to use the tables after this one.
	Compatible int
}

// ReadSplit returns the scripts of [Read] as migrations after which every version can use the tables.
func ReadSplit(files fs.FS) []Migration {
	scripts := Read(files)
	list := make([]Migration, len(scripts))
	for i, script := range scripts {
		list[i] = Migration{Statements: Split(script), Compatible: 1}
	}
	return list
}

// Read returns the scripts in the folder migrations of files, in order. It panics if it cannot read one, because files
// is embedded.
func Read(files fs.FS) []string {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		panic(err)
	}
	scripts := make([]string, len(names))
	for i, name := range names {
		if want := fmt.Sprintf("migrations/%04d_", i+1); !strings.HasPrefix(name, want) {
			panic("the migration " + name + " does not begin with " + want)
		}
		script, err := fs.ReadFile(files, name)
		if err != nil {
			panic(err)
		}
		scripts[i] = string(script)
	}
	return scripts
}

// Split splits a script at semicolons that end lines. Comments must be on lines of their own.
func Split(script string) []Statement {
	var statements []Statement
	for part := range strings.SplitSeq(script, ";\n") {
		var s Statement
		var lines []string
		for line := range strings.SplitSeq(part, "\n") {
			switch trimmed := strings.TrimSpace(line); {
			case trimmed == "-- optional":
				s.Optional = true
			case trimmed == "-- brief":
				s.Brief = true
			case trimmed == "" || strings.HasPrefix(trimmed, "--"):
			default:
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			s.SQL = strings.Join(lines, "\n")
			statements = append(statements, s)
		}
	}
	return statements
}

// WithPrefix replaces {prefix} with the prefix of the tables, which must be a valid identifier.
func WithPrefix(sql, prefix string) string { return strings.ReplaceAll(sql, "{prefix}", prefix) }

// TooOld returns an error text for tables that need a version that knows more migrations. subject names them, with the
// verb: "the file was".
func TooOld(subject string, version, needed, known int) string {
	return fmt.Sprintf("%s changed by a newer version of Stele to schema %d, which a version that knows schema %d "+
		"can use, and this one knows only %d: run a newer version", subject, version, needed, known)
}
