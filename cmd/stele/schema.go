package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/drivers"
)

const schemaHelp = `Create in the database what Stele needs, or bring it up to date, and exit: database, tables and their first rows.

Serving does the same by itself if the database lets it. This is for a user with more rights than the one who serves, and
--print is for those who run SQL themselves: it prints the statements, asks no database, and needs no rights at all.`

func newSchemaCommand() *cobra.Command {
	var t tool
	var printed bool
	return t.command(&cobra.Command{Use: "schema", Short: "Create the tables, or print the statements that do", Long: schemaHelp},
		func(flags *pflag.FlagSet) {
			flags.BoolVar(&printed, "print", false, "print the statements and leave the database alone")
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
	// What is there can be read, too.
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
