package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/drivers"
)

const schemaHelp = `Create in the database what Stele needs, or bring it up to date, and exit: database, tables and their first rows.

Serving does the same by itself if the database lets it. This is for a user with more rights than the one who serves, and
--print is for those who run SQL themselves: it prints the statements, asks no database, and needs no rights at all.`

// newSchemaCommand has the flags of serving that say which database, and no other.
func newSchemaCommand() *cobra.Command {
	var cfg schemaConfig
	flags := pflag.NewFlagSet("schema", pflag.ContinueOnError)
	flags.BoolVar(&cfg.print, "print", false, "print the statements and leave the database alone")
	cfg.flags(flags)
	cmd := &cobra.Command{
		Use: "schema", Short: "Create the tables, or print the statements that do", Long: schemaHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 { // which may be a DSN with a password: it is not repeated
				return errors.New("stele schema takes flags only; name the database with --endpoint")
			}
			if err := cfg.environment(flags); err != nil {
				return err
			}
			return cfg.run(cmd.Context(), flags, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(flags)
	return cmd
}

type schemaConfig struct {
	print bool
	tool
}

func (c *schemaConfig) run(ctx context.Context, flags *pflag.FlagSet, stdout, stderr io.Writer) error {
	if c.print {
		statements, err := drivers.Schema(c.database.endpoint)
		if err != nil {
			return fmt.Errorf("--endpoint: %w", err)
		}
		for _, statement := range statements {
			if _, err := fmt.Fprintln(stdout, statement); err != nil {
				return err
			}
		}
		return nil
	}
	database, _, err := c.open(ctx, flags, stderr)
	if err != nil {
		return err
	}
	// What is there can be read, too.
	_, err = database.End(ctx)
	if closed := database.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("--endpoint: cannot read %s: %w", drivers.Describe(c.database.endpoint), err)
	}
	_, err = fmt.Fprintf(stdout, "%s is up to date\n", drivers.Describe(c.database.endpoint))
	return err
}
