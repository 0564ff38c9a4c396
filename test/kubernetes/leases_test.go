package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// heartbeat is how often a node or an API server renews its Lease.
const heartbeat = 10 * time.Second

// checkHeartbeats watches the Leases of the nodes until each has been renewed twice.
func checkHeartbeats(t *testing.T, c *cluster) string {
	ctx, cancel := context.WithTimeout(t.Context(), 6*heartbeat)
	defer cancel()
	client := c.api.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	list, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != nodes {
		t.Fatalf("%d nodes have Leases, want %d", len(list.Items), nodes)
	}
	w, err := client.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	var between []time.Duration
	last, renewals := map[string]time.Time{}, map[string]int{}
	for done := 0; done < nodes; {
		event, ok := <-w.ResultChan()
		if !ok {
			t.Fatalf("the Leases of %d nodes of %d were renewed twice in %v", done, nodes, 6*heartbeat)
		}
		lease, _ := event.Object.(*coordinationv1.Lease)
		if event.Type != watch.Modified || lease == nil || lease.Spec.RenewTime == nil {
			t.Fatalf("an event that is not a renewal: %v", event)
		}
		renewed := lease.Spec.RenewTime.Time
		if before, ok := last[lease.Name]; ok {
			between = append(between, renewed.Sub(before))
			if renewals[lease.Name]++; renewals[lease.Name] == 1 {
				done++
			}
		}
		last[lease.Name] = renewed
	}
	return fmt.Sprintf("%d nodes, every %s", nodes, percentiles(between))
}

// checkNotReady stops the heartbeats of one node. The node must be not ready when its grace period has passed, and
// ready when the heartbeats resume.
func checkNotReady(t *testing.T, c *cluster) string {
	name := fmt.Sprintf("node-%02d", nodes-1)
	c.stopping.kill()
	took := await(t, gracePeriod+time.Minute, func(ctx context.Context) error {
		node, err := c.api.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if isReady(node) {
			return errors.New("the node is ready")
		}
		return tainted(node)
	})
	// The node may have sent its last heartbeat almost a period before the kill.
	if took < gracePeriod-heartbeat {
		t.Errorf("the node was not ready after %v, its grace period is %v", took, gracePeriod)
	}
	await(t, time.Minute, func(ctx context.Context) error { return nodesReady(ctx, c, nodes-1) })
	c.startNodes(t, stopping+"-again", stopping)
	back := await(t, time.Minute, func(ctx context.Context) error { return nodesReady(ctx, c, nodes) })
	return fmt.Sprintf("NotReady after %s, ready again after %s", short(took), short(back))
}

// tainted returns nil if the node has a taint that keeps new pods away.
func tainted(node *corev1.Node) error {
	for _, taint := range node.Spec.Taints {
		if taint.Key == corev1.TaintNodeUnreachable {
			return nil
		}
	}
	return fmt.Errorf("the node has no taint but %v", node.Spec.Taints)
}

// leader returns the Lease of a program.
func leader(ctx context.Context, c *cluster, name string) (*coordinationv1.Lease, error) {
	lease, err := c.api.client.CoordinationV1().Leases(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.LeaseTransitions == nil {
		return nil, errors.New("nobody leads")
	}
	return lease, nil
}

// checkTakeover kills the leader of controllerManager or scheduler. The other candidate must lead once the leader's
// Lease has expired, and must do its work.
func checkTakeover(t *testing.T, c *cluster, name string) string {
	before, err := leader(t.Context(), c, name)
	if err != nil {
		t.Fatal(err)
	}
	c.leaders[name].kill()
	took := await(t, leaseDuration+30*time.Second, func(ctx context.Context) error {
		now, err := leader(ctx, c, name)
		if err != nil {
			return err
		}
		if *now.Spec.HolderIdentity == *before.Spec.HolderIdentity {
			return errors.New("the leader that was killed leads")
		}
		if *now.Spec.LeaseTransitions != *before.Spec.LeaseTransitions+1 {
			return stop{fmt.Errorf("%d leaders took over", *now.Spec.LeaseTransitions-*before.Spec.LeaseTransitions)}
		}
		return nil
	})
	// The leader renews every 2 s.
	if took < leaseDuration-5*time.Second {
		t.Errorf("another one led %v after the leader was killed, which led for %v", took, leaseDuration)
	}
	c.startCandidate(t, name, 3)
	// The pods of a deployment need both programs.
	namespace := newNamespace(t, c, "after-"+name)
	if _, err := c.api.client.AppsV1().Deployments(namespace).Create(t.Context(), newDeployment("web", 5),
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, time.Minute, func(ctx context.Context) error {
		list, err := c.api.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		return allRun(list, 5)
	})
	return "after " + short(took)
}

// checkIdentity waits until the API server has renewed its identity Lease twice.
func checkIdentity(t *testing.T, c *cluster) string {
	var renewed []time.Time
	await(t, 5*heartbeat, func(ctx context.Context) error {
		leases, err := identities(ctx, c.api)
		if err != nil {
			return err
		}
		lease, ok := leases[c.api.identity]
		if !ok || lease.Spec.RenewTime == nil {
			return fmt.Errorf("no Lease of the API server among %d", len(leases))
		}
		if at := lease.Spec.RenewTime.Time; len(renewed) == 0 || at.After(renewed[len(renewed)-1]) {
			renewed = append(renewed, at)
		}
		if len(renewed) < 3 {
			return fmt.Errorf("renewed %d times", len(renewed)-1)
		}
		return nil
	})
	return "renewed every " + short(renewed[2].Sub(renewed[0])/2)
}
