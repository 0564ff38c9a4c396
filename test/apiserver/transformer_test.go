package apiserver

import (
	"context"
	"errors"
	"sync/atomic"

	"k8s.io/apiserver/pkg/storage"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"
)

// switchable is a transformer that tests can replace while the store uses it.
type switchable struct {
	current atomic.Pointer[value.Transformer]
}

func newSwitchable(first value.Transformer) *switchable {
	s := &switchable{}
	s.current.Store(&first)
	return s
}

// use replaces the transformer until restore is called.
func (s *switchable) use(next value.Transformer) (restore func()) {
	before := s.current.Swap(&next)
	return func() { s.current.Store(before) }
}

// TransformFromStorage implements value.Read.
func (s *switchable) TransformFromStorage(
	ctx context.Context, data []byte, dataCtx value.Context,
) ([]byte, bool, error) {
	return (*s.current.Load()).TransformFromStorage(ctx, data, dataCtx)
}

// TransformToStorage implements value.Write.
func (s *switchable) TransformToStorage(ctx context.Context, data []byte, dataCtx value.Context) ([]byte, error) {
	return (*s.current.Load()).TransformToStorage(ctx, data, dataCtx)
}

// valuePrefix is the prefix that the tests' transformer adds to every value.
const valuePrefix = "test!"

func newPrefixTransformer() *storagetesting.PrefixTransformer {
	return storagetesting.NewPrefixTransformer([]byte(valuePrefix), false)
}

// transforming is a storage whose transformer tests can replace.
type transforming struct {
	storage.Interface
	transformer *switchable
}

// UpdatePrefixTransformer replaces the tests' transformer by the result of modify.
func (s transforming) UpdatePrefixTransformer(modify storagetesting.PrefixTransformerModifier) func() {
	return s.transformer.use(modify(newPrefixTransformer()))
}

// unreadable fails to read stored values.
type unreadable struct{ value.Transformer }

var errUnreadable = errors.New("unreadable on purpose")

// TransformFromStorage implements value.Read.
func (unreadable) TransformFromStorage(context.Context, []byte, value.Context) ([]byte, bool, error) {
	return nil, true, errUnreadable
}
