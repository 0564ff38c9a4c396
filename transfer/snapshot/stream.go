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

// chunkBytes is the size of the pieces of [Temporary.Send], the same as in etcd.
const chunkBytes = 32 << 10

// Temporary is a snapshot in a file without a name, so that its space is freed when it is closed or the process ends.
type Temporary struct{ file *os.File }

// BuildTemporary writes an export to a file in the directory for temporary files.
func BuildTemporary(ctx context.Context, x *logstructured.Export) (*Temporary, error) {
	directory, err := os.MkdirTemp("", "stele-snapshot-")
	if err != nil {
		return nil, fmt.Errorf("%w; the environment variable TMPDIR names a directory for temporary files", err)
	}
	path := filepath.Join(directory, "db")
	w, err := Create(path)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(directory))
	}
	file, err := os.Open(path)
	// The name is removed before the content is written: a killed process leaves no file behind.
	if err := errors.Join(err, os.RemoveAll(directory)); err != nil {
		return nil, errors.Join(err, w.Abort(), file.Close())
	}
	if _, err := w.build(ctx, x, nil); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Temporary{file}, nil
}

// Close frees the space of the snapshot. A concurrent Send fails.
func (t *Temporary) Close() error { return t.file.Close() }

// Send calls send for each piece of the snapshot, with the number of bytes of the database that follow. The last piece
// is the SHA-256 of the database. send may keep the pieces. Send may be called once.
func (t *Temporary) Send(send func(piece []byte, remaining int64) error) error {
	stat, err := t.file.Stat()
	if err != nil {
		return err
	}
	digest := sha256.New()
	for remaining := stat.Size(); remaining > 0; {
		piece := make([]byte, min(chunkBytes, remaining))
		if _, err := io.ReadFull(t.file, piece); err != nil {
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
