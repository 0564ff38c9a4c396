package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-db/stele/transfer/importer"
)

const importHelp = `Fill the database --endpoint, which must be empty of Stele's data, with the history of another store, and exit. Every revision is kept, so that clients go on with
the revisions that they know. Stop what writes to the source before: an import notices when it was written meanwhile, and says so.

Nobody can serve the database before all of it is there and was compared with the source, by count and checksum. An import that was interrupted goes on where it stopped when the same command runs
again.

  --from=kine   kine's table in the same database, or in that of --source
  --from=etcd   a running etcd, or another server of its API, whose URL is --source (http://..., https://...); or a file of
                ` + "`etcdctl snapshot save`" + `, whose path is --source
  --from=stele  another database of Stele's, --source`

// importSource is a value of --from.
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
	cmd := &cobra.Command{Use: "import", Short: "Fill an empty database with the history of another store", Long: importHelp}
	return t.command(cmd, c.flags, func(ctx context.Context, _ []string) error {
		c.password = os.Getenv(sourcePasswordVariable)
		return t.importFrom(ctx, &c)
	})
}

// importFrom imports, or reports with --dry-run what an import would do.
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
	r := &importRun{tool: t, config: c, log: logger}
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
