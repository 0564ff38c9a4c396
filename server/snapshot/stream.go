package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/stele-db/stele/logstructured"
)

// chunkBytes is the size of what [Stream] sends at once, that of etcd.
const chunkBytes = 32 << 10

// Stream sends a snapshot in pieces, with how many bytes of the database follow, and its SHA-256 as the last one. The database is made in a file in the directory for
// temporary files, which has no name any more when the first piece is sent. send may keep the pieces.
func Stream(ctx context.Context, x *logstructured.Export, send func(piece []byte, remaining int64) error) (err error) {
	file, err := buildTemporary(ctx, x)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	stat, err := file.Stat()
	if err != nil {
		return err
	}
	digest := sha256.New()
	for remaining := stat.Size(); remaining > 0; {
		piece := make([]byte, min(chunkBytes, remaining))
		if _, err := io.ReadFull(file, piece); err != nil {
			return err
		}
		digest.Write(piece)
		remaining -= int64(len(piece))
		if err := send(piece, remaining); err != nil {
			return err
		}
	}
	return send(digest.Sum(nil), 0)
}

// buildTemporary returns a file without a name.
func buildTemporary(ctx context.Context, x *logstructured.Export) (file *os.File, err error) {
	directory, err := os.MkdirTemp("", "stele-snapshot-")
	if err != nil {
		return nil, fmt.Errorf("%w; the environment variable TMPDIR names a directory for temporary files", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	path := filepath.Join(directory, "db")
	if _, err := Build(ctx, path, x, nil); err != nil {
		return nil, err
	}
	return os.Open(path)
}
