package programs

import (
	"context"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/target"
)

// utlBump is the number by which a restore raises the revision.
const utlBump = 100_000

// TestEtcdutl works offline on a snapshot that etcdctl has saved. It compares hashes, restores with a higher revision,
// defragments, and migrates to an older version of etcd. test/etcdctl compares a plain restore, revision by revision.
func TestEtcdutl(t *testing.T) {
	t.Parallel()
	ctl, utl := etcdctl(t), etcdutl(t)
	onEach(t, []string{modeEtcd, modeTTL}, func(t *testing.T, server *target.Target) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		server.AwaitStorageVersion(t)
		m := &mirror{source: server, client: server.Client(t), seed: 5}
		m.write(t, mirrorOps)
		last, err := m.client.Put(ctx, "b/last", "")
		if err != nil {
			t.Fatal(err)
		}
		revision := last.Header.Revision
		if _, err := m.client.Compact(ctx, revision/2, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
		want := contents(t, m.client)
		endpoint, snapshot := "--endpoints="+server.Address, filepath.Join(t.TempDir(), "snapshot")
		ctl.run(t, endpoint, "snapshot", "save", snapshot)

		dir := filepath.Join(t.TempDir(), "data")
		utl.run(t, "snapshot", "restore", snapshot, "--data-dir="+dir, "--wal-dir="+filepath.Join(dir, "elsewhere"),
			"--bump-revision="+strconv.Itoa(utlBump), "--mark-compacted", "--initial-cluster-token=other")
		utl.run(t, "defrag", "--data-dir="+dir)
		// hashkv changes the file, so that its checksum is wrong afterwards.
		for _, at := range []int64{revision, revision - revision/4} {
			rev := "--rev=" + strconv.FormatInt(at, 10)
			online := hashOf(t, ctl.run(t, endpoint, "endpoint", "hashkv", rev))
			offline := hashOf(t, utl.run(t, "hashkv", snapshot, rev))
			if online != offline {
				t.Errorf("the hash of revision %d is %s in the snapshot, and %s of the server", at, offline, online)
			}
		}
		restored := etcd.Start(t, etcd.Options{
			Dir: dir, Args: []string{"--wal-dir=" + filepath.Join(dir, "elsewhere")},
		})
		client := connect.Client(t, restored.Target)
		if diff := cmp.Diff(want, contents(t, client)); diff != "" {
			t.Errorf("keys of the restored etcd (-want +got):\n%s", diff[:min(len(diff), 2000)])
		}
		all, err := client.Get(ctx, "b/last")
		if err != nil || all.Header.Revision < utlBump+revision {
			t.Errorf("revision %v, error %v, want at least %d", all.Header.GetRevision(), err, utlBump+revision)
		}
		// A client that resumes a watch from before the restore must list again.
		if r := <-client.Watch(ctx, "b/", clientv3.WithRev(revision)); r.CompactRevision < utlBump+revision {
			t.Errorf("a watch from before the restore has compact revision %d", r.CompactRevision)
		}
		if _, err := client.Put(ctx, "b/last", "after"); err != nil {
			t.Error(err)
		}
	})
}

// TestEtcdutlMigrate restores a snapshot and compares which versions of etcd the data can be migrated to.
func TestEtcdutlMigrate(t *testing.T) {
	t.Parallel()
	ctl, utl := etcdctl(t), etcdutl(t)
	var want []result
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		server.AwaitStorageVersion(t)
		endpoint, snapshot := "--endpoints="+server.Address, filepath.Join(t.TempDir(), "snapshot")
		ctl.run(t, endpoint, "put", "a", "1")
		ctl.run(t, endpoint, "snapshot", "save", snapshot)
		dir := filepath.Join(t.TempDir(), "data")
		utl.run(t, "snapshot", "restore", snapshot, "--data-dir="+dir)
		var got []result
		for _, version := range []string{"3.7", "3.6", "3.5", "3.4", "3.6", "4.0"} {
			r := utl.try(t, toolTimeout, "migrate", "--data-dir="+dir, "--target-version="+version)
			got = append(got, result{Out: r.Out, Failure: errorLine(r.Failure), Code: r.Code})
		}
		if want == nil {
			want = got
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("migrations (-etcd +stele):\n%s", diff)
		}
		t.Logf("%+v", got)
	})
}

// hashOf returns the hash that hashkv prints: etcdctl after the endpoint, etcdutl at the beginning of the line.
func hashOf(t *testing.T, out string) string {
	t.Helper()
	hash := regexp.MustCompile(`\b\d{6,10}\b`).FindString(strings.TrimSpace(out[strings.LastIndex(out, ":")+1:]))
	if hash == "" {
		t.Fatalf("no hash in %q", out)
	}
	return hash
}

// errorLine returns the line of a log that begins with Error.
func errorLine(log string) string {
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "Error") {
			return line
		}
	}
	return ""
}
