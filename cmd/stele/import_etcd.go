package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/tls"
	"github.com/stele-db/stele/transfer/importer"
	"github.com/stele-db/stele/transfer/snapshot"
)

// etcd copies a running etcd or a snapshot.
func (r *importRun) etcd(ctx context.Context) (*importer.Result, error) {
	if !strings.Contains(r.config.source, "://") || strings.HasPrefix(r.config.source, "file://") {
		return r.etcdSnapshot(ctx)
	}
	password, err := r.config.readPassword()
	if err != nil {
		return nil, err
	}
	user, inline, _ := strings.Cut(r.config.user, ":")
	if inline != "" {
		password = inline
	}
	config, err := tls.Config{
		CAFile: r.config.caCert, CertFile: r.config.cert, KeyFile: r.config.key, SkipVerify: r.config.skipTLSVerify,
	}.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("--cacert, --cert, --key: %w; name readable PEM files that belong together", err)
	}
	opts := importer.LiveOptions{
		Options: r.options(), Server: importer.Server{URL: r.config.source, TLS: config, User: user,
			Password: password},
		Until: logstructured.Revision(r.config.untilRevision),
	}
	if err := r.openTarget(ctx); err != nil {
		return nil, err
	}
	if r.config.follow {
		// The first signal ends the copy at the current revision of the source; the second one ends the process.
		opts.CutOver = ctx.Done()
		ctx = context.WithoutCancel(ctx)
		r.logger.Info("copying until SIGINT or SIGTERM: " +
			"stop the clients that write to the source first, and wait until the copy is not behind")
	}
	result, err := importer.Live(ctx, r.target, opts)
	return result, ofSource(err)
}

func (r *importRun) etcdSnapshot(ctx context.Context) (_ *importer.Result, err error) {
	if r.config.follow || r.config.untilRevision != 0 {
		return nil, errors.New("--follow and --until-revision are for a running etcd: " +
			"write its URL as --source, such as http://127.0.0.1:2379")
	}
	path := strings.TrimPrefix(r.config.source, "file://")
	f, err := snapshot.Open(path, snapshot.OpenOptions{AllowNoChecksum: r.config.skipHashCheck})
	if err != nil {
		return nil, fmt.Errorf("--source: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := r.openTarget(ctx); err != nil {
		return nil, err
	}
	result, err := importer.File(ctx, f, r.target, r.options())
	return result, ofSource(err)
}
