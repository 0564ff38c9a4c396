package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The nodes form two groups, each with its own kwok. The nodes of steady always send heartbeats. The node of stopping
// stops when its kwok is killed.
const (
	groupLabel = "stele.test/group"
	steady     = "steady"
	stopping   = "stopping"
)

// checkReady starts an API server on an empty store.
func checkReady(t *testing.T, c *cluster) string {
	begin := time.Now()
	c.api = c.startAPIServer(t, 1)
	c.awaitReady(t)
	took := time.Since(begin)
	await(t, time.Minute, func(ctx context.Context) error {
		leases, err := identities(ctx, c.api)
		if err != nil {
			return err
		}
		for c.api.identity = range leases {
			return nil
		}
		return errors.New("the API server has no Lease")
	})
	return short(took)
}

// awaitReady waits until the newest API server is ready.
func (c *cluster) awaitReady(t *testing.T) {
	t.Helper()
	// Before the API server listens, a request would make its client back off.
	await(t, 2*time.Minute, func(context.Context) error {
		if err := c.api.check(); err != nil {
			return stop{err}
		}
		conn, err := net.Dial("tcp", c.api.address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	await(t, 2*time.Minute, c.api.ready)
}

// checkNodesReady starts all other programs. The first candidate of each program starts alone, so that it leads, and
// the second one follows.
func checkNodesReady(t *testing.T, c *cluster) string {
	begin := time.Now()
	for _, name := range []string{controllerManager, scheduler} {
		c.leaders[name] = c.startCandidate(t, name, 1)
	}
	createNodes(t, c)
	c.startNodes(t, steady, steady)
	c.stopping = c.startNodes(t, stopping, stopping)
	await(t, 2*time.Minute, func(ctx context.Context) error { return nodesReady(ctx, c, nodes) })
	for _, name := range []string{controllerManager, scheduler} {
		await(t, time.Minute, func(ctx context.Context) error {
			_, err := leader(ctx, c, name)
			return err
		})
	}
	// Pods cannot be created before this account exists.
	await(t, time.Minute, func(ctx context.Context) error {
		_, err := c.api.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default",
			metav1.GetOptions{})
		return err
	})
	took := time.Since(begin)
	for _, name := range []string{controllerManager, scheduler} {
		c.startCandidate(t, name, 2)
	}
	return short(took)
}

// createNodes registers all nodes, as kubelets would.
func createNodes(t *testing.T, c *cluster) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(8)
	for i := range nodes {
		g.Go(func() error {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
				Name:   fmt.Sprintf("node-%02d", i),
				Labels: map[string]string{groupLabel: steady, corev1.LabelHostname: fmt.Sprintf("node-%02d", i)},
			}}
			if i == nodes-1 {
				node.Labels[groupLabel] = stopping
			}
			_, err := c.api.client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// nodesReady returns nil if want nodes are ready.
func nodesReady(ctx context.Context, c *cluster, want int) error {
	list, err := c.api.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	ready := 0
	for i := range list.Items {
		if isReady(&list.Items[i]) {
			ready++
		}
	}
	if ready != want {
		return fmt.Errorf("%d nodes of %d are ready, want %d", ready, len(list.Items), want)
	}
	return nil
}

func isReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// checkAlive checks at the end of the run that no program has ended by itself, whatever happened to the store.
func checkAlive(t *testing.T, c *cluster) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.started.check(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d programs", len(c.started))
}
