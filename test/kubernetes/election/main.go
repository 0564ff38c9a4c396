// Command election is an application in which only one process at a time works. It elects a leader by client-go, with a
// Lease, as client-go documents. The leader continuously changes a record that no other process may change.
//
// The record is fenced: it has the epoch of the leader that wrote it (the number of transitions of the Lease), a leader
// with a lower epoch does not change it, and every change compares the resource version. The process writes each of its
// actions to standard output, as one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The settings that client-go recommends.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// namespace has the Lease and the record, both called name.
const (
	namespace = metav1.NamespaceDefault
	name      = "election"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "where the API server is")
	id := flag.String("id", "", "name of this candidate")
	unelected := flag.Bool("unelected", false, "work without an election, which must be noticed")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *kubeconfig, *id, *unelected)
	cancel()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run runs a candidate until ctx ends.
func run(ctx context.Context, kubeconfig, id string, unelected bool) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	// The election has its own client, so that it never waits for the work. The client of the work may send more
	// requests per second than the default allows.
	elections, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 100, 200
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	w := &worker{id: id, client: client, out: json.NewEncoder(os.Stdout)}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name},
			Client:     elections.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: id},
		},
		LeaseDuration: leaseDuration,
		RenewDeadline: renewDeadline,
		RetryPeriod:   retryPeriod,
		// A leader that stops keeps its Lease until it expires: its work has ended when the next leader begins.
		ReleaseOnCancel: false,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: w.lead,
			OnStoppedLeading: func() {}, // the context of lead has ended
		},
	})
	if err != nil {
		return err
	}
	w.say(event{Event: waiting})
	if unelected {
		w.epoch = 1
		w.lead(ctx)
		return ctx.Err()
	}
	for ctx.Err() == nil {
		// Run returns when the Lease could not be renewed in time. The process is then a candidate again.
		elector.Run(ctx)
	}
	return ctx.Err()
}

// The values of [event.Event].
const (
	waiting = "waiting"
	leading = "leading"
	wrote   = "wrote"
	lost    = "lost"
)

// event is a line of the output.
type event struct {
	Time  time.Time `json:"time"`
	ID    string    `json:"id"`
	Event string    `json:"event"`
	// Epoch is the epoch of the leader, Sequence the number of the change, Revision the resource version after it.
	Epoch    int64 `json:"epoch,omitempty"`
	Sequence int64 `json:"sequence,omitempty"`
	Revision int64 `json:"revision,omitempty"`
	// Unknown is the number of earlier changes by this process that failed but may have taken place.
	Unknown int `json:"unknown,omitempty"`
}

// worker does the work of a leader.
type worker struct {
	id     string
	client kubernetes.Interface
	out    *json.Encoder
	// epoch is the epoch of all terms; 0 means that it comes from the Lease.
	epoch int64
	// working is held during a term, so that terms do not overlap.
	working sync.Mutex
	// unknown is the number of changes, in all terms, that failed but may have taken place.
	unknown int
}

func (w *worker) say(e event) {
	e.Time, e.ID = time.Now(), w.id
	// An error means that no process reads the output any more.
	_ = w.out.Encode(e)
}
