package server

import (
	"context"
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/stele-db/stele/logstructured"
)

// Users and roles count towards the limit of the index. At the limit they cannot be added, but can be deleted.
func TestIndexLimitBoundsUsersAndRoles(t *testing.T) {
	store, err := logstructured.Open(t.Context(), openLog(t), logstructured.Options{Logger: quiet(), MaxIndexBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- store.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	client := pb.NewAuthClient(serveStore(t, store, func(o *Options) { o.BcryptCost = 4 }).dial(t))
	ctx := within(t)
	if _, err := client.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "first"}); err != nil {
		t.Fatal(err)
	}
	for name, add := range map[string]func() error{
		"role": func() error {
			_, err := client.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "second"})
			return err
		},
		"user": func() error {
			_, err := client.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "u", Password: "p"})
			return err
		},
	} {
		if err := add(); !errors.Is(rpctypes.Error(err), rpctypes.ErrNoSpace) {
			t.Errorf("a %s beyond the limit: %v", name, err)
		}
	}
	if _, err := client.RoleDelete(ctx, &pb.AuthRoleDeleteRequest{Role: "first"}); err != nil {
		t.Errorf("deleting a role: %v", err)
	}
}
