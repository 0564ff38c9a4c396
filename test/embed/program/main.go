// Command program embeds a datastore in the working directory, as k3s does.
//
//	program [DATABASE]        uses it as k3s does, prints what it reads, and exits
//	program serve             serves with TLS until a signal
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/k3s-io/kine/pkg/client"
	"github.com/k3s-io/kine/pkg/endpoint"
	"github.com/k3s-io/kine/pkg/tls"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
)

func main() {
	logrus.SetOutput(io.Discard)
	run := func() error { return embed(strings.Join(os.Args[1:], "")) }
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		run = serve
	}
	if err := run(); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := writeCertificates(); err != nil {
		return err
	}
	c := newCluster("")
	var wg sync.WaitGroup
	c.datastore.WaitGroup, c.datastore.ServerTLSConfig = &wg, certificate
	if err := c.startStorage(ctx); err != nil {
		return err
	}
	wg.Wait()
	return nil
}

func embed(database string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return newCluster(database).run(ctx)
}

// newCluster sets the defaults of kine's flags, because kine requires them.
func newCluster(database string) *cluster {
	return &cluster{datastore: endpoint.Config{
		Endpoint:            database,
		NotifyInterval:      5 * time.Second,
		EmulatedETCDVersion: "3.5.13",
		CompactTimeout:      5 * time.Second,
		CompactMinRetain:    1000,
		CompactBatchSize:    1000,
		PollBatchSize:       500,
		PollInterval:        time.Second,
	}}
}

// certificate names the files of writeCertificates.
var certificate = tls.Config{CAFile: "ca.crt", CertFile: "server.crt", KeyFile: "server.key"}

// cluster is the part of k3s's cluster that uses the datastore.
type cluster struct {
	datastore endpoint.Config
	etcd      endpoint.ETCDConfig
}

func (c *cluster) run(ctx context.Context) error {
	if err := writeCertificates(); err != nil {
		return err
	}
	configured := c.datastore

	// k3s first starts without TLS, to find out whether the cluster has certificates.
	bootstrap, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	c.datastore.WaitGroup = &wg
	if err := c.startStorage(bootstrap); err != nil {
		return err
	}
	if err := c.socket(); err != nil {
		return err
	}
	for _, step := range []func(context.Context, client.Client) error{lock, save, rotate, compact} {
		if err := c.with(ctx, step); err != nil {
			return err
		}
	}
	cancel()
	wg.Wait()
	if _, err := os.Stat("kine.sock"); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the socket is still there: %w", err)
	}

	// Then it serves with TLS and metrics, in the same process, on the same data.
	serving, stop := context.WithCancel(ctx)
	defer stop()
	registry := prometheus.NewRegistry()
	c.datastore = configured
	c.datastore.WaitGroup = &wg
	c.datastore.MetricsRegisterer = registry
	c.datastore.ServerTLSConfig = certificate
	if err := c.startStorage(serving); err != nil {
		return err
	}
	if err := c.socket(); err != nil {
		return err
	}
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	fmt.Println("metrics:", len(families) > 0)
	for _, step := range []func(context.Context, client.Client) error{show, lock} {
		if err := c.with(ctx, step); err != nil {
			return err
		}
	}
	if err := c.apiserver(ctx); err != nil {
		return err
	}
	if err := c.again(serving); err != nil {
		return err
	}
	stop()
	wg.Wait()
	return nil
}

// startStorage starts the datastore and stores its configuration.
func (c *cluster) startStorage(ctx context.Context) (err error) {
	if c.etcd, err = endpoint.Listen(ctx, c.datastore); err != nil {
		return err
	}
	fmt.Printf("listens on %s, authority %q, elect a leader: %v\n", strings.Join(c.etcd.Endpoints, ","),
		c.etcd.TLSConfig.CAFile, c.etcd.LeaderElect)
	return nil
}

func (c *cluster) socket() error {
	info, err := os.Stat("kine.sock")
	if err != nil {
		return err
	}
	fmt.Println("socket:", info.Mode())
	return nil
}

func (c *cluster) with(ctx context.Context, step func(context.Context, client.Client) error) error {
	storage, err := client.New(c.etcd)
	if err != nil {
		return err
	}
	return errors.Join(step(ctx, storage), storage.Close())
}

// again calls Listen for a running datastore: k3s puts the result of Listen into its configuration.
func (c *cluster) again(ctx context.Context) error {
	for _, running := range []string{strings.Join(c.etcd.Endpoints, ","), "https://a:2379,https://b:2379"} {
		c.datastore.Endpoint, c.datastore.BackendTLSConfig = running, c.etcd.TLSConfig
		if err := c.startStorage(ctx); err != nil {
			return err
		}
	}
	return nil
}
