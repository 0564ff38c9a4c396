package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The endpoint of a dead API server lasts until its key in the store has expired. Another API server then removes the
// endpoint at its next check.
const (
	endpointTTL   = 15 * time.Second
	endpointCheck = 10 * time.Second
)

// checkSecondAPIServer adds an API server and kills it.
func checkSecondAPIServer(t *testing.T, c *cluster) string {
	second := c.startAPIServer(t, 2)
	joined := await(t, 3*time.Minute, second.ready)
	await(t, time.Minute, func(ctx context.Context) error {
		return endpoints(ctx, c.api, advertised(1), advertised(2))
	})
	await(t, time.Minute, func(ctx context.Context) error {
		leases, err := identities(ctx, c.api)
		if err != nil {
			return err
		}
		if len(leases) != 2 {
			return fmt.Errorf("%d API servers have Leases, want 2", len(leases))
		}
		return nil
	})
	agree(t, c, second)

	second.kill()
	left := await(t, endpointTTL+endpointCheck+30*time.Second, func(ctx context.Context) error {
		return endpoints(ctx, c.api, advertised(1))
	})
	return fmt.Sprintf("ready after %s, endpoint gone %s after kill -9", short(joined), short(left))
}

// agree writes through one API server and lists through the other, in turn.
func agree(t *testing.T, c *cluster, second *apiServer) {
	t.Helper()
	namespace := newNamespace(t, c, "two")
	servers := []*apiServer{c.api, second}
	for i := range 40 {
		writer, reader := servers[i%2], servers[(i+1)%2]
		object := newObject(cached, namespace, fmt.Sprintf("object-%d", i))
		object.SetLabels(map[string]string{"two": "yes"})
		if _, err := writer.dynamic.Resource(cached).Namespace(namespace).Create(t.Context(), object,
			metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		list, err := reader.client.CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{
			LabelSelector: "two=yes",
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) != i+1 {
			t.Fatalf("%d objects are written, a list of the other API server has %d", i+1, len(list.Items))
		}
	}
}

// endpoints returns nil if the service of the API servers has exactly the given addresses.
func endpoints(ctx context.Context, a *apiServer, want ...string) error {
	list, err := a.client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).
		List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return err
	}
	var got []string
	for i := range list.Items {
		for _, endpoint := range list.Items[i].Endpoints {
			got = append(got, endpoint.Addresses...)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		return fmt.Errorf("the API servers are at %v, want %v", got, want)
	}
	return nil
}

// identities returns the Leases of the API servers, by name.
func identities(ctx context.Context, a *apiServer) (map[string]*coordinationv1.Lease, error) {
	list, err := a.client.CoordinationV1().Leases(metav1.NamespaceSystem).
		List(ctx, metav1.ListOptions{LabelSelector: "apiserver.kubernetes.io/identity=kube-apiserver"})
	if err != nil {
		return nil, err
	}
	leases := map[string]*coordinationv1.Lease{}
	for i := range list.Items {
		leases[list.Items[i].Name] = &list.Items[i]
	}
	return leases, nil
}
