package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-db/stele/transfer/importer"
)

const importHelp = `Import the history of another store into the database --endpoint, which must hold no data of
Stele, and exit. The import keeps every revision, so that clients can continue with the revisions that they know. Stop
the programs that write to the source first: the import fails if the source changes.

No server starts on the database until the import is complete and compared with the source, by count and checksum. Run
the same command again to resume an interrupted import.

  --from=kine   kine's table in the same database, or in the database --source
  --from=etcd   a running etcd, or another server of its API, at the URL --source (http://..., https://...); or a file
                of ` + "`etcdctl snapshot save`" + `, at the path --source
  --from=stele  another database of Stele, --source`

// importSource implements a value of --from.
type importSource struct {
	run    func(r *importRun, ctx context.Context) (*importer.Result, error)
	report func(r *importRun, result *importer.Result, took time.Duration) error
}

var importSources = map[string]importSource{
	"kine":  {(*importRun).kine, (*importRun).reportHistory},
	"etcd":  {(*importRun).etcd, (*importRun).reportCopy},
	"stele": {(*importRun).stele, (*importRun).reportCopy},
}

func newImportCommand() *cobra.Command {
	var t tool
	var c importConfig
	cmd := &cobra.Command{
		Use: "import", Short: "Fill an empty database with the history of another store", Long: importHelp,
	}
	return t.command(cmd, c.flags, func(ctx context.Context, _ []string) error {
		c.password = os.Getenv(sourcePasswordVariable)
		return t.importFrom(ctx, &c)
	})
}

// importFrom imports the source, or with --dry-run only reports the effect of an import.
func (t *tool) importFrom(ctx context.Context, c *importConfig) error {
	logger, err := t.log.logger(t.stderr)
	if err != nil {
		return err
	}
	if err := errors.Join(c.check(), t.database.check()); err != nil {
		return err
	}
	if c.from != "kine" {
		if err := c.checkCopy(t.flags.Changed("lease-mode")); err != nil {
			return err
		}
	}
	began := time.Now()
	r := &importRun{tool: t, config: c, logger: logger}
	source := importSources[c.from]
	result, err := source.run(r, ctx)
	r.bar.end()
	if r.target != nil {
		err = errors.Join(err, r.target.Close())
	}
	if err != nil {
		return r.explain(ctx, err)
	}
	return source.report(r, result, time.Since(began))
}
