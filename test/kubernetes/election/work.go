package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// workPeriod is the time between two changes of the record, requestTimeout the limit of one change.
const (
	workPeriod     = 50 * time.Millisecond
	requestTimeout = time.Second
)

// errFenced means that a later leader has written the record.
var errFenced = errors.New("the record is of a later leader")

// lead works until ctx ends, because this process no longer leads, or until a later leader has written the record.
func (w *worker) lead(ctx context.Context) {
	w.working.Lock()
	defer w.working.Unlock()
	l := &leader{worker: w, epoch: w.epoch}
	w.say(event{Event: leading})
	defer func() { w.say(event{Event: lost, Epoch: l.epoch}) }()
	tick := time.NewTicker(workPeriod)
	defer tick.Stop()
	for {
		if err := l.work(ctx); errors.Is(err, errFenced) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leader is one term of a worker.
type leader struct {
	*worker
	epoch int64
	// record is the stored record; nil if it is unknown.
	record *corev1.ConfigMap
}

// work changes the record once.
func (l *leader) work(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if l.record == nil {
		if err := l.read(ctx); err != nil {
			return err
		}
	}
	next := l.record.DeepCopy()
	sequence := number(next, "sequence") + 1
	next.Data = map[string]string{"leader": l.id, "epoch": fmt.Sprint(l.epoch), "sequence": fmt.Sprint(sequence)}
	records := l.client.CoreV1().ConfigMaps(namespace)
	var written *corev1.ConfigMap
	var err error
	if next.ResourceVersion == "" {
		written, err = records.Create(ctx, next, metav1.CreateOptions{})
	} else {
		written, err = records.Update(ctx, next, metav1.UpdateOptions{})
	}
	if err != nil {
		l.record = nil
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			l.unknown++
		}
		return err
	}
	l.record = written
	revision, err := strconv.ParseInt(written.ResourceVersion, 10, 64)
	if err != nil {
		return err
	}
	l.say(event{Event: wrote, Epoch: l.epoch, Sequence: sequence, Revision: revision, Unknown: l.unknown})
	return nil
}

// read fetches the record and, the first time, the epoch.
func (l *leader) read(ctx context.Context) error {
	if l.epoch == 0 {
		lease, err := l.client.CoordinationV1().Leases(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if holder := lease.Spec.HolderIdentity; holder == nil || *holder != l.id {
			return fmt.Errorf("%w: the Lease is not held by %s", errFenced, l.id)
		}
		l.epoch = 1
		if n := lease.Spec.LeaseTransitions; n != nil {
			l.epoch += int64(*n)
		}
	}
	record, err := l.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		record, err = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil
	}
	if err != nil {
		return err
	}
	if number(record, "epoch") > l.epoch {
		return errFenced
	}
	l.record = record
	return nil
}

// number returns a field of the record, or 0 if it is missing.
func number(record *corev1.ConfigMap, field string) int64 {
	n, err := strconv.ParseInt(record.Data[field], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
