package etcd_test

import (
	"context"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/etcd"
)

func TestStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	server := etcd.Start(t, etcd.Options{})
	if err := connect.Ready(ctx, server.Target, nil); err != nil {
		t.Fatal(err)
	}
	client := connect.Client(t, server.Target)
	put, err := client.Put(ctx, "k", "v")
	if err != nil {
		t.Fatal(err)
	}
	if put.Header.Revision != 2 {
		t.Errorf("revision of the first put is %d, want 2", put.Header.Revision)
	}
}
