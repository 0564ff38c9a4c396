package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stele-db/stele/logstructured/log"
)

func (s suite) registries(t *testing.T, n int) []log.Registry {
	t.Helper()
	var registries []log.Registry
	for _, l := range s.fresh(t, n) {
		r, ok := l.(log.Registry)
		if !ok {
			t.Fatalf("%T is shared by several machines, and no Registry", l)
		}
		registries = append(registries, r)
	}
	return registries
}

func registered(t *testing.T, r log.Registry, self log.Replica) []log.Replica {
	t.Helper()
	all, err := r.Register(testContext(t), self)
	if err != nil {
		t.Fatalf("Register: %v", err)
	}
	if !slices.ContainsFunc(all, func(a log.Replica) bool { return a.ID == self.ID }) {
		t.Fatalf("Register of %x returns only %+v", self.ID, all)
	}
	if !slices.IsSortedFunc(all, log.Replica.Compare) {
		t.Fatalf("replicas in disorder: %+v", all)
	}
	return all
}

func replica(all []log.Replica, id uint64) log.Replica {
	for _, r := range all {
		if r.ID == id {
			return r
		}
	}
	return log.Replica{}
}

func sameReplica(a, b log.Replica) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Version == b.Version && slices.Equal(a.ClientURLs, b.ClientURLs)
}

func (s suite) register(t *testing.T) {
	r := s.registries(t, 2)
	ctx := testContext(t)
	a := log.Replica{ID: 1<<63 + 5, Name: "a", ClientURLs: []string{"http://127.0.0.1:2379", "unix:///x"},
		Version: "3.7.0"}
	b := log.Replica{ID: 7, Name: "b", ClientURLs: []string{"http://127.0.0.2:2379"}, Version: "3.7.1"}
	all := registered(t, r[0], a)
	if len(all) != 1 || !sameReplica(all[0], a) || all[0].Since != all[0].Seen || all[0].Since < 1_600_000_000_000 {
		t.Fatalf("after the first registration: %+v", all)
	}
	first := all[0]
	all = registered(t, r[1], b)
	if len(all) != 2 || !sameReplica(replica(all, a.ID), a) || !sameReplica(replica(all, b.ID), b) {
		t.Fatalf("after the second registration: %+v", all)
	}
	// A refresh updates the fields, keeps Since and advances Seen.
	a.ClientURLs, a.Version = nil, "3.7.2"
	await(t, "a refresh is later", func() bool {
		all = registered(t, r[1], a)
		return replica(all, a.ID).Seen > first.Seen
	})
	if got := replica(all, a.ID); len(all) != 2 || !sameReplica(got, a) || got.Since != first.Since {
		t.Errorf("after a refresh: %+v", all)
	}
	if err := r[0].Unregister(ctx, a.ID, 0); err != nil {
		t.Errorf("Unregister: %v", err)
	}
	if err := r[1].Unregister(ctx, a.ID, 0); err != nil {
		t.Errorf("Unregister of none: %v", err)
	}
	if all = registered(t, r[0], b); len(all) != 1 {
		t.Errorf("after Unregister: %+v", all)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := r[0].Register(canceled, a); !errors.Is(err, context.Canceled) {
		t.Errorf("Register: %v, want the context's error", err)
	}
	if err := r[0].Unregister(canceled, b.ID, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Unregister: %v, want the context's error", err)
	}
}

// registerAnyBytes registers texts that are hard to store. Invalid UTF-8 may be replaced, because it cannot be sent to
// clients.
func (s suite) registerAnyBytes(t *testing.T) {
	r := s.registries(t, 2)
	all := make([]rune, 0x180)
	for i := range all {
		all[i] = rune(i)
	}
	replicas := []log.Replica{
		{ID: 1},
		{ID: 1<<64 - 1, Name: string(all), Version: string(all), ClientURLs: []string{string(all), "", "a,b",
			"c\nd\te\x00f"}},
		{ID: 1 << 63, Name: "it's \\ \" % _ ; -- $1 ?", ClientURLs: []string{`http://"[quoted]"/\`, "Straße", "Ⅷ 𝄞"}},
		{ID: 2, ClientURLs: []string{""}, Name: string(slices.Repeat([]byte("long"), 100))},
	}
	for i, self := range replicas {
		registered(t, r[i%2], self)
	}
	invalid := log.Replica{ID: 3, Name: "\xc3\x28", Version: "\xff", ClientURLs: []string{"\xff\xfe", "b"}}
	for i := range r {
		got := registered(t, r[i], invalid)
		if found := replica(got, invalid.ID); len(found.ClientURLs) != 2 || found.ClientURLs[1] != "b" {
			t.Errorf("replica %#v is %#v", invalid, found)
		}
		for _, want := range replicas {
			if found := replica(got, want.ID); !sameReplica(found, want) {
				t.Errorf("replica %x is %#v, want %#v", want.ID, found, want)
			}
		}
	}
}

// unregisterSilent checks that Unregister removes a replica only if the caller has seen its latest heartbeat.
func (s suite) unregisterSilent(t *testing.T) {
	r := s.registries(t, 2)
	a, b := log.Replica{ID: 1<<63 + 1, Name: "a"}, log.Replica{ID: 2, Name: "b"}
	registered(t, r[0], a)
	old := replica(registered(t, r[1], b), a.ID)
	await(t, "a refresh is later", func() bool { return replica(registered(t, r[0], a), a.ID).Seen != old.Seen })
	if err := r[1].Unregister(testContext(t), a.ID, old.Seen); err != nil {
		t.Errorf("Unregister: %v", err)
	}
	all := registered(t, r[1], b)
	if len(all) != 2 {
		t.Fatalf("a replica was removed that has registered again: %+v", all)
	}
	if err := r[1].Unregister(testContext(t), a.ID, replica(all, a.ID).Seen); err != nil {
		t.Errorf("Unregister: %v", err)
	}
	if all := registered(t, r[1], b); len(all) != 1 {
		t.Errorf("after Unregister: %+v", all)
	}
}

// registerTogether makes many replicas register and refresh at once.
func (s suite) registerTogether(t *testing.T) {
	const replicas = 24
	r := s.registries(t, 4)
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() {
			self := log.Replica{ID: uint64(i+1) * 0x1357_9bdf_0246_8ace, Name: fmt.Sprint(i)}
			for range 5 {
				if _, err := r[i%len(r)].Register(testContext(t), self); err != nil {
					t.Errorf("Register: %v", err)
				}
			}
		})
	}
	wg.Wait()
	self := log.Replica{ID: 1, Name: "last"}
	if all := registered(t, r[0], self); len(all) != replicas+1 {
		t.Errorf("%d replicas, want %d", len(all), replicas+1)
	}
}
