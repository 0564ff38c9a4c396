package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/stele-db/stele/pkg/client"
	"github.com/stele-db/stele/pkg/endpoint"
)

// This program keeps its own data in a datastore inside its process.
func ExampleListen() {
	if err := program(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// settings/color: blue
	// already there: key exists
	// settings/color: green
	// stopped, and the socket is gone: true
}

func program() error {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	socket := filepath.Join(dir, "datastore.sock")

	// The datastore serves until stop is called. It has stopped when done is done.
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var done sync.WaitGroup
	etcd, err := endpoint.Listen(ctx, endpoint.Config{
		Endpoint:  "sqlite://" + filepath.Join(dir, "state.db"),
		Listener:  "unix://" + socket,
		WaitGroup: &done,
	})
	if err != nil {
		return err
	}

	// Listen returns the parameters of the connection: for this client, for etcd's client, or for --etcd-servers of
	// kube-apiserver.
	c, err := client.New(etcd)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Create(ctx, "settings/color", []byte("blue")); err != nil {
		return err
	}
	color, err := c.Get(ctx, "settings/color")
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s\n", color.Key, color.Data)

	// Create does not overwrite the value. A client that knows its revision can update it.
	if err := c.Create(ctx, "settings/color", []byte("red")); errors.Is(err, client.ErrKeyExists) {
		fmt.Println("already there:", err)
	}
	if err := c.Update(ctx, "settings/color", color.Modified, []byte("green")); err != nil {
		return err
	}
	settings, err := c.List(ctx, "settings/", 0)
	if err != nil {
		return err
	}
	for _, s := range settings {
		fmt.Printf("%s: %s\n", s.Key, s.Data)
	}

	stop()
	done.Wait()
	_, err = os.Stat(socket)
	fmt.Println("stopped, and the socket is gone:", errors.Is(err, os.ErrNotExist))
	return nil
}
