package kubernetes

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The pods of the run belong to several deployments in the namespace default.
const (
	deployments = 4
	pods        = 100
	scaledPods  = 200
)

func deploymentName(i int) string { return fmt.Sprintf("web-%d", i) }

func newDeployment(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nothing"}}},
			},
		},
	}
}

// checkDeployments creates deployments, and waits until all their pods run.
func checkDeployments(t *testing.T, c *cluster) string {
	begin := time.Now()
	for i := range deployments {
		_, err := c.api.client.AppsV1().Deployments(metav1.NamespaceDefault).
			Create(t.Context(), newDeployment(deploymentName(i), pods/deployments), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	await(t, 2*time.Minute, func(ctx context.Context) error { return running(ctx, c, pods) })
	return fmt.Sprintf("%d pods in %s", pods, short(time.Since(begin)))
}

// checkScale doubles the number of pods.
func checkScale(t *testing.T, c *cluster) string {
	begin := time.Now()
	for i := range deployments {
		scale(t, c, deploymentName(i), scaledPods/deployments)
	}
	await(t, 2*time.Minute, func(ctx context.Context) error { return running(ctx, c, scaledPods) })
	return fmt.Sprintf("%d pods in %s", scaledPods, short(time.Since(begin)))
}

// scale sets the number of pods of a deployment.
func scale(t *testing.T, c *cluster, name string, replicas int) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	await(t, 2*time.Minute, func(ctx context.Context) error {
		_, err := c.api.client.AppsV1().Deployments(metav1.NamespaceDefault).
			Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	})
}

// checkRollingRestart replaces all pods with kubectl.
func checkRollingRestart(t *testing.T, c *cluster) string {
	before := podNames(t, c)
	begin := time.Now()
	restartAll(t, c)
	await(t, 3*time.Minute, func(ctx context.Context) error { return rolled(ctx, c, before) })
	took := time.Since(begin)
	for i := range deployments {
		if _, err := c.kubectl(t.Context(), "rollout", "status", "--timeout=60s",
			"deployment/"+deploymentName(i)); err != nil {
			t.Error(err)
		}
	}
	return fmt.Sprintf("%d pods in %s", scaledPods, short(took))
}

// restartAll starts a rolling restart of all deployments.
func restartAll(t *testing.T, c *cluster) {
	t.Helper()
	args := []string{"rollout", "restart"}
	for i := range deployments {
		args = append(args, "deployment/"+deploymentName(i))
	}
	await(t, 2*time.Minute, func(ctx context.Context) error {
		_, err := c.kubectl(ctx, args...)
		return err
	})
}

// rolled returns nil if all pods run and none of them existed before.
func rolled(ctx context.Context, c *cluster, before map[string]bool) error {
	list, err := c.api.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	old := 0
	for i := range list.Items {
		if before[list.Items[i].Name] {
			old++
		}
	}
	if old > 0 {
		return fmt.Errorf("%d of %d pods are of before", old, len(list.Items))
	}
	return allRun(list, scaledPods)
}

func podNames(t *testing.T, c *cluster) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	await(t, time.Minute, func(ctx context.Context) error {
		list, err := c.api.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			names[list.Items[i].Name] = true
		}
		return nil
	})
	return names
}

// running returns nil if the run has want pods, and all of them run.
func running(ctx context.Context, c *cluster, want int) error {
	list, err := c.api.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	return allRun(list, want)
}

func allRun(list *corev1.PodList, want int) error {
	phases := map[corev1.PodPhase]int{}
	for i := range list.Items {
		phases[list.Items[i].Status.Phase]++
	}
	if phases[corev1.PodRunning] != want || len(list.Items) != want {
		return fmt.Errorf("pods are %v, want %d running", phases, want)
	}
	return nil
}

// checkNamespaceDeletion deletes a namespace with 200 objects in it.
func checkNamespaceDeletion(t *testing.T, c *cluster) string {
	name := newNamespace(t, c, "short-lived")
	if _, err := c.api.client.AppsV1().Deployments(name).Create(t.Context(), newDeployment("web", 20),
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 150 {
		createConfigMap(t, c, name, fmt.Sprintf("config-%d", i), nil)
	}
	await(t, time.Minute, func(ctx context.Context) error {
		list, err := c.api.client.CoreV1().Pods(name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		return allRun(list, 20)
	})
	begin := time.Now()
	if err := c.api.client.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, 2*time.Minute, func(ctx context.Context) error {
		got, err := c.api.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("the namespace is still there: %v", got.Status)
	})
	took := time.Since(begin)
	list, err := c.api.client.CoreV1().ConfigMaps(name).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) > 0 {
		t.Errorf("%d objects outlived their namespace", len(list.Items))
	}
	return short(took)
}

// newNamespace creates a namespace.
func newNamespace(t *testing.T, c *cluster, name string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.api.client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}

func createConfigMap(t *testing.T, c *cluster, namespace, name string, data map[string]string) *corev1.ConfigMap {
	t.Helper()
	created, err := c.api.client.CoreV1().ConfigMaps(namespace).
		Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data},
			metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return created
}
