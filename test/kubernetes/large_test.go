package kubernetes

import (
	"context"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Sizes of an object, in bytes: etcd accepts requests of 1.5 MiB, which include Kubernetes' own fields.
const (
	acceptedSize = 1_500_000
	refusedSize  = 1_700_000
)

// checkLargeObjects writes objects just below and just above the limit. They are custom resources, because the API
// server limits its own objects to less.
func checkLargeObjects(t *testing.T, c *cluster) string {
	blobs := schema.GroupVersionResource{Group: "stele.test", Version: "v1", Resource: "blobs"}
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1",
		"kind":       "CustomResourceDefinition",
		"metadata":   map[string]any{"name": "blobs.stele.test"},
		"spec": map[string]any{
			"group": blobs.Group,
			"names": map[string]any{"kind": "Blob", "plural": blobs.Resource},
			"scope": "Namespaced",
			"versions": []any{map[string]any{
				"name": blobs.Version, "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "x-kubernetes-preserve-unknown-fields": true,
				}},
			}},
		},
	}}
	definitions := schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	}
	if _, err := c.api.dynamic.Resource(definitions).Create(t.Context(), definition,
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	client := c.api.dynamic.Resource(blobs).Namespace(newNamespace(t, c, "large"))
	await(t, time.Minute, func(ctx context.Context) error {
		_, err := client.List(ctx, metav1.ListOptions{})
		return err
	})
	blob := func(name string, size int) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "stele.test/v1", "kind": "Blob",
			"metadata": map[string]any{"name": name},
			"data":     strings.Repeat("x", size),
		}}
	}
	refused := func(err error) string {
		t.Helper()
		switch {
		case err == nil:
			t.Fatalf("an object of %d bytes was accepted", refusedSize)
		case !strings.Contains(err.Error(), "too large"):
			t.Fatalf("an object of %d bytes was refused with: %v", refusedSize, err)
		}
		return err.Error()
	}

	_, err := client.Create(t.Context(), blob("refused", refusedSize), metav1.CreateOptions{})
	message := refused(err)
	if _, err := client.Get(t.Context(), "refused", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the object that was refused: %v", err)
	}
	accepted, err := client.Create(t.Context(), blob("accepted", acceptedSize), metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("an object of %d bytes: %v", acceptedSize, err)
	}
	larger := blob("accepted", refusedSize)
	larger.SetResourceVersion(accepted.GetResourceVersion())
	_, err = client.Update(t.Context(), larger, metav1.UpdateOptions{})
	refused(err)
	got, err := client.Get(t.Context(), "accepted", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if data, _, _ := unstructured.NestedString(got.Object, "data"); len(data) != acceptedSize {
		t.Errorf("the object has %d bytes, want %d", len(data), acceptedSize)
	}
	return "1.7 MB: " + message + "; 1.5 MB accepted"
}
