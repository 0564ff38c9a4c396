package client

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"github.com/stele-db/stele/internal/keyrange"
	"github.com/stele-db/stele/pkg/tls"
)

// The texts are part of the interface: programs compare the text of ErrKeyExists, and search for the others.
var (
	// ErrNotFound means that the key does not exist.
	ErrNotFound = errors.New("key not found")
	// ErrKeyExists means that the key to create exists.
	ErrKeyExists = errors.New("key exists")
	// ErrRevision means that the key was changed or deleted after the given revision.
	ErrRevision = errors.New("doesnt match")
)

// Config describes the connection to a datastore. [github.com/stele-db/stele/pkg/endpoint.Listen] returns it as
// ETCDConfig.
type Config struct {
	// Endpoints of one datastore: http://host:port, https://host:port, unix://path, unixs://path, or host:port. The
	// first one decides for all whether to use TLS: https and unixs do, http does not, and the others do if TLSConfig
	// is set.
	Endpoints []string
	// TLSConfig of the client.
	TLSConfig tls.Config
	// LeaderElect reports whether other processes may use the same data, so that controllers must elect a leader.
	LeaderElect bool
}

// Value is a key with its data.
type Value struct {
	Key  []byte
	Data []byte
	// Modified is the revision of its last change.
	Modified int64
}

// Client reads and changes a datastore. All methods may be called concurrently. A request without a deadline ends with
// the timeout of the server, or when keep-alive finds the connection dead.
type Client interface {
	// List returns the keys that begin with key, in order, at revision rev; 0 is the current one. An empty key is the
	// prefix of all keys.
	List(ctx context.Context, key string, rev int) ([]Value, error)
	// Get returns the current value, or [ErrNotFound].
	Get(ctx context.Context, key string) (Value, error)
	// Put sets the value, whether the key exists or not.
	Put(ctx context.Context, key string, value []byte) error
	// Create sets the value of a new key, or returns [ErrKeyExists].
	Create(ctx context.Context, key string, value []byte) error
	// Update sets the value of a key last modified at revision, or returns [ErrRevision]. At revision 0 the key must
	// not exist.
	Update(ctx context.Context, key string, revision int64, value []byte) error
	// Delete removes a key last modified at revision, or returns [ErrRevision].
	Delete(ctx context.Context, key string, revision int64) error
	// Compact drops the history before revision, and returns the current revision.
	Compact(ctx context.Context, revision int64) (int64, error)
	// Close closes the connections, which ends the requests in flight.
	Close() error
}

type client struct {
	conn *grpc.ClientConn
	kv   pb.KVClient
}

// New returns a client, which connects with its first request. It returns an error if there is no endpoint or a TLS
// file cannot be used.
func New(config Config) (Client, error) {
	conn, err := dial(config)
	if err != nil {
		return nil, fmt.Errorf("datastore client: %w", err)
	}
	return &client{conn: conn, kv: pb.NewKVClient(conn)}, nil
}

func (c *client) List(ctx context.Context, key string, rev int) ([]Value, error) {
	keys := keyrange.Prefix([]byte(key))
	resp, err := c.kv.Range(ctx, &pb.RangeRequest{Key: keys.Key, RangeEnd: keys.End, Revision: int64(rev)})
	if err != nil {
		return nil, toError(ctx, err)
	}
	var values []Value
	for _, kv := range resp.Kvs {
		values = append(values, Value{Key: kv.Key, Data: kv.Value, Modified: kv.ModRevision})
	}
	return values, nil
}

func (c *client) Get(ctx context.Context, key string) (Value, error) {
	resp, err := c.kv.Range(ctx, &pb.RangeRequest{Key: []byte(key)})
	if err != nil {
		return Value{}, toError(ctx, err)
	}
	if len(resp.Kvs) == 0 {
		return Value{}, ErrNotFound
	}
	kv := resp.Kvs[0]
	return Value{Key: kv.Key, Data: kv.Value, Modified: kv.ModRevision}, nil
}

func (c *client) Put(ctx context.Context, key string, value []byte) error {
	if err := c.connected(ctx); err != nil {
		return err
	}
	_, err := c.kv.Put(ctx, &pb.PutRequest{Key: []byte(key), Value: value})
	return toError(ctx, err)
}

func (c *client) Create(ctx context.Context, key string, value []byte) error {
	succeeded, err := c.ifModified(ctx, key, 0, put(key, value))
	if err == nil && !succeeded {
		return ErrKeyExists
	}
	return err
}

func (c *client) Update(ctx context.Context, key string, revision int64, value []byte) error {
	succeeded, err := c.ifModified(ctx, key, revision, put(key, value))
	if err == nil && !succeeded {
		return fmt.Errorf("revision %d %w", revision, ErrRevision)
	}
	return err
}

func (c *client) Delete(ctx context.Context, key string, revision int64) error {
	succeeded, err := c.ifModified(ctx, key, revision, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte(key)},
	}})
	if err == nil && !succeeded {
		return fmt.Errorf("revision %d %w", revision, ErrRevision)
	}
	return err
}

func (c *client) Compact(ctx context.Context, revision int64) (int64, error) {
	if err := c.connected(ctx); err != nil {
		return 0, err
	}
	resp, err := c.kv.Compact(ctx, &pb.CompactionRequest{Revision: revision})
	if err != nil {
		return 0, toError(ctx, err)
	}
	return resp.Header.GetRevision(), nil
}

func (c *client) Close() error { return c.conn.Close() }

// ifModified applies op if the key was last modified at revision, and reports whether it did. At revision 0 the key
// must not exist. The failure branch reads the key, because kine recognizes updates by it.
func (c *client) ifModified(ctx context.Context, key string, revision int64, op *pb.RequestOp) (bool, error) {
	if err := c.connected(ctx); err != nil {
		return false, err
	}
	txn := &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Result: pb.Compare_EQUAL, Target: pb.Compare_MOD, Key: []byte(key),
			TargetUnion: &pb.Compare_ModRevision{ModRevision: revision},
		}},
		Success: []*pb.RequestOp{op},
	}
	if revision != 0 {
		get := &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte(key)}}
		txn.Failure = []*pb.RequestOp{{Request: get}}
	}
	resp, err := c.kv.Txn(ctx, txn)
	if err != nil {
		return false, toError(ctx, err)
	}
	return resp.Succeeded, nil
}

func put(key string, value []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key), Value: value}}}
}

// toError translates an error of the server to etcd's error, and returns the error of ctx if that has ended.
func toError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var known rpctypes.EtcdError
	if err = rpctypes.Error(err); errors.As(err, &known) {
		return err
	}
	if ended(err) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
