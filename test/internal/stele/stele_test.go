package stele_test

import (
	"context"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

func TestRestartKeepsDataAndAddress(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for name, opts := range map[string]stele.Options{"tcp": {}, "unix socket": {Socket: true}} {
		t.Run(name, func(t *testing.T) {
			server := stele.Start(t, opts)
			client := connect.Client(t, server.Target)
			if _, err := client.Put(ctx, "k", "1"); err != nil {
				t.Fatal(err)
			}
			for _, end := range []func() error{server.Kill, server.Stop} {
				pid := server.Pid()
				if err := end(); err != nil {
					t.Fatal(err)
				}
				if err := server.Launch(ctx); err != nil {
					t.Fatal(err)
				}
				if server.Pid() == pid {
					t.Fatalf("process %d was not replaced", pid)
				}
				got, err := connect.Client(t, server.Target).Get(ctx, "k")
				if err != nil {
					t.Fatal(err)
				}
				if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "1" {
					t.Fatalf("k is %v after the restart", got.Kvs)
				}
			}
		})
	}
}
