package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stele-db/stele/pkg/version"
)

const longHelp = `Stele serves the etcd v3 API from a SQL database, by default an embedded SQLite file.

Without a command and without flags it serves on 127.0.0.1:2379 from ./db/state.db. Every flag also has an environment
variable: --listen-address has STELE_LISTEN_ADDRESS. Flags that kine has too also have kine's variable, such as
KINE_LISTEN_ADDRESS. Command lines for kine work unchanged.`

func execute(ctx context.Context, args []string) error {
	root := newCommand()
	root.SetArgs(doubleDashes(root, args))
	return root.ExecuteContext(ctx)
}

func newCommand() *cobra.Command {
	cfg := &config{}
	flags := cfg.flags()
	run := func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("%q is neither a command nor a flag; serving takes flags only, see stele --help", args[0])
		}
		if err := applyEnvironment(cmd.Root(), flags, os.Environ()); err != nil {
			return err
		}
		cfg.database.password = os.Getenv(passwordVariable)
		err := serve(cmd.Context(), cfg, flags, cmd.OutOrStdout(), cmd.ErrOrStderr())
		return cfg.log.report(err, cmd.ErrOrStderr())
	}
	root := &cobra.Command{
		Use:           "stele",
		Short:         "Serve the etcd v3 API from a SQL database",
		Long:          longHelp,
		Version:       version.String(),
		Args:          cobra.ArbitraryArgs, // run rejects them in one line
		RunE:          run,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	serveCommand := &cobra.Command{Use: "serve", Short: "Serve clients (the default)", Long: longHelp, RunE: run}
	versionCommand := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "stele version %s\n", version.String())
			return err
		},
	}
	root.AddCommand(serveCommand, newSchemaCommand(), newLeaseModeCommand(), newCheckCommand(), newRecoverCommand(),
		newExportCommand(), newImportCommand(), versionCommand)
	for _, cmd := range []*cobra.Command{root, serveCommand} {
		cmd.Flags().SortFlags = false
		cmd.Flags().AddFlagSet(flags)
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return explain(err) })
	return root
}

// doubleDashes turns -flag, a form that kine accepts, into --flag if root or one of its commands has such a flag. pflag
// would read -flag as a row of one-letter flags.
func doubleDashes(root *cobra.Command, args []string) []string {
	out := make([]string, 0, len(args))
	for i, arg := range args {
		if arg == "--" {
			return append(out, args[i:]...)
		}
		name, isFlag := strings.CutPrefix(arg, "-")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && len(name) > 1 && hasFlag(root, name) {
			arg = "-" + arg
		}
		out = append(out, arg)
	}
	return out
}

// hasFlag reports whether root or one of its commands has the flag name.
func hasFlag(root *cobra.Command, name string) bool {
	if name == "help" || name == "version" { // cobra adds them when it executes a command
		return true
	}
	return slices.ContainsFunc(append(root.Commands(), root), func(cmd *cobra.Command) bool {
		return cmd.Flags().Lookup(name) != nil
	})
}
