package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/k3s-io/kine/pkg/client"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

const (
	prefix = "/bootstrap"
	key    = prefix + "/token-1"
	next   = prefix + "/token-2"
)

// show prints all keys below prefix.
func show(ctx context.Context, storage client.Client) error {
	values, err := storage.List(ctx, prefix, 0)
	if err != nil {
		return err
	}
	for _, v := range values {
		fmt.Printf("there is %s: %q, modified: %v\n", v.Key, v.Data, v.Modified > 0)
	}
	if len(values) == 0 {
		fmt.Println("there is nothing")
	}
	return nil
}

// report prints an error as k3s distinguishes it: by identity or by text.
func report(operation string, err error) {
	switch {
	case err == nil:
		fmt.Println(operation, "done")
	case errors.Is(err, client.ErrNotFound):
		fmt.Println(operation, "not found")
	case strings.HasSuffix(err.Error(), "doesnt match"):
		fmt.Println(operation, "another revision")
	case errors.Is(err, rpctypes.ErrCompacted):
		fmt.Println(operation, "compacted")
	default:
		fmt.Println(operation, err)
	}
}

// lock creates an empty key, and tries to create it again.
func lock(ctx context.Context, storage client.Client) error {
	_, err := storage.Get(ctx, key)
	report("get:", err)
	report("lock:", storage.Create(ctx, key, []byte{}))
	report("lock again:", storage.Create(ctx, key, []byte{}))
	return show(ctx, storage)
}

// save replaces the value at the revision that was read.
func save(ctx context.Context, storage client.Client) error {
	values, err := storage.List(ctx, prefix, 0)
	if err != nil {
		return err
	}
	if len(values) != 1 {
		return fmt.Errorf("%d values", len(values))
	}
	report("update:", storage.Update(ctx, key, values[0].Modified, []byte("certificates\x00\xff")))
	report("update of a changed value:", storage.Update(ctx, key, values[0].Modified, []byte("others")))
	report("deletion of a changed value:", storage.Delete(ctx, key, values[0].Modified))
	report("update of a missing key:", storage.Update(ctx, next, values[0].Modified, nil))
	report("put over it:", storage.Put(ctx, key, []byte("certificates")))
	if err := show(ctx, storage); err != nil {
		return err
	}
	before, err := storage.List(ctx, prefix, int(values[0].Modified))
	if err != nil {
		return err
	}
	fmt.Printf("before: %d, %q\n", len(before), before[0].Data)
	_, err = storage.List(ctx, prefix, int(values[0].Modified)+1000)
	report("list at a revision to come: failed:", onlyWhether(err))
	return nil
}

func onlyWhether(err error) error {
	if err == nil {
		return errors.New("it is there")
	}
	return nil
}

// rotate stores the value under another key, and deletes the first.
func rotate(ctx context.Context, storage client.Client) error {
	value, err := storage.Get(ctx, key)
	if err != nil {
		return err
	}
	report("store:", storage.Create(ctx, next, value.Data))
	report("delete:", storage.Delete(ctx, key, value.Modified))
	_, err = storage.Get(ctx, key)
	report("get of a deleted key:", err)
	return show(ctx, storage)
}

// compact requests a compaction; the datastore decides when it takes effect.
func compact(ctx context.Context, storage client.Client) error {
	value, err := storage.Get(ctx, next)
	if err != nil {
		return err
	}
	revision, err := storage.Compact(ctx, value.Modified)
	report("compact:", err)
	fmt.Println("to the revision of the key or later:", revision >= value.Modified)
	return nil
}
