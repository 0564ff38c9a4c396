// Command election is an application of which only one process at a time may work. It elects a leader by client-go,
// with a Lease, as client-go documents. The work is a record that only the leader may change, and changes continuously.
//
// The record is fenced: it has the epoch of the leader that wrote it (the number of transitions of the Lease), a leader
// with a lower epoch does not change it, and every change compares the resource version. The process writes its actions
// to standard output, one line of JSON each.
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

// run is a candidate until ctx ends.
func run(ctx context.Context, kubeconfig, id string, unelected bool) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	// The election has a client of its own: it never waits for the work, whose client may send more than the few
	// requests a second that are usual.
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
		// A leader that stops does not give the Lease back: the other one then never begins before its work has ended.
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
		// It returns when the Lease could not be renewed in time; then this is a candidate again.
		elector.Run(ctx)
	}
	return ctx.Err()
}

// The events.
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
	// Epoch is that of the leader, Sequence the number of the change, and Revision the resource version that it made.
	Epoch    int64 `json:"epoch,omitempty"`
	Sequence int64 `json:"sequence,omitempty"`
	Revision int64 `json:"revision,omitempty"`
	// Unknown are changes of this process before this one that failed, and may have happened nevertheless.
	Unknown int `json:"unknown,omitempty"`
}

// worker does the work of a leader.
type worker struct {
	id     string
	client kubernetes.Interface
	out    *json.Encoder
	// epoch is that of all terms; 0 if the Lease has it.
	epoch int64
	// working is held during a term: the next one does not begin before.
	working sync.Mutex
	// unknown are the changes of all terms that failed, and may have happened nevertheless.
	unknown int
}

func (w *worker) say(e event) {
	e.Time, e.ID = time.Now(), w.id
	// If this fails, no process reads the output any more.
	_ = w.out.Encode(e)
}
