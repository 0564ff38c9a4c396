package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/drivers"
)

const schemaHelp = `Create the database, its tables and their first rows, or bring them up to date, and exit.

The server does this itself if its database user has the privileges. Run this command as a user with more privileges, or
with --print, which prints the statements to run and does not connect to the database.`

func newSchemaCommand() *cobra.Command {
	var t tool
	var printed bool
	return t.command(&cobra.Command{Use: "schema", Short: "Create the tables, or print the SQL statements",
		Long: schemaHelp},
		func(flags *pflag.FlagSet) {
			flags.BoolVar(&printed, "print", false, "print the statements without connecting to the database")
		},
		func(ctx context.Context, _ []string) error {
			if printed {
				return t.printSchema()
			}
			return t.createSchema(ctx)
		})
}

func (t *tool) printSchema() error {
	statements, err := drivers.Schema(t.database.endpoint)
	if err != nil {
		return fmt.Errorf("--endpoint: %w", err)
	}
	for _, statement := range statements {
		if _, err := fmt.Fprintln(t.stdout, statement); err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) createSchema(ctx context.Context) error {
	t.database.besideKine = true // the log stays empty
	database, _, err := t.create(ctx)
	if err != nil {
		return err
	}
	// Reading the head proves that the user may read the tables.
	_, err = database.End(ctx)
	if closed := database.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("--endpoint: %w, reading %s", err, t.name())
	}
	_, err = fmt.Fprintf(t.stdout, "%s is up to date\n", t.name())
	return err
}
