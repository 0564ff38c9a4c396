package logstructured

import "github.com/stele-db/stele/internal/keyrange"

// KeyRange is a range of keys in etcd's notation.
type KeyRange = keyrange.Range
