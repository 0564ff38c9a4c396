// Command kwok prints kwok's built-in stages as one YAML file for kwok's --config. Stages define the actions of a fake
// node and its pods. kwok itself, which this module pins as a tool, starts without any.
package main

import (
	"fmt"
	"os"
	"strings"

	node "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	lease "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	pod "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
)

func main() {
	stages := []string{
		node.DefaultNodeInit, lease.DefaultNodeHeartbeatWithLease,
		pod.DefaultPodReady, pod.DefaultPodComplete, pod.DefaultPodDelete,
	}
	for i := range stages {
		stages[i] = strings.TrimSpace(stages[i])
	}
	if _, err := fmt.Println(strings.Join(stages, "\n---\n")); err != nil {
		os.Exit(1)
	}
}
