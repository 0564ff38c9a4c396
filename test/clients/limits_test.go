package clients

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

// peakMiB returns the highest resident memory of the process pid so far.
func peakMiB(t testing.TB, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	if !found {
		t.Fatal("no VmHWM in the process's status")
	}
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// TestLargeBodyCostsLittle sends 300 MB to the JSON gateway.
func TestLargeBodyCostsLittle(t *testing.T) {
	s := stele.Start(t, stele.Options{Plain: true})
	before := peakMiB(t, s.Pid())
	conn, err := net.Dial("tcp", s.Target)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const size = 300_000_000
	fmt.Fprintf(conn, "POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{\"key\":\"", size)
	piece := bytes.Repeat([]byte{'A'}, 64<<10)
	for sent := 0; sent < size; sent += len(piece) {
		if _, err := conn.Write(piece); err != nil {
			break // the server has closed
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	_, _ = io.Copy(io.Discard, conn)
	after := peakMiB(t, s.Pid())
	t.Logf("%d MiB before, %d MiB after", before, after)
	if after > before+64 {
		t.Errorf("%d MB of body took %d MiB of memory", size/1_000_000, after-before)
	}
}

// TestDescriptorsAreReserved opens more connections than a server may open files, which is 256.
func TestDescriptorsAreReserved(t *testing.T) {
	dir := t.TempDir()
	limited := filepath.Join(dir, "limited")
	script := fmt.Sprintf("#!/bin/sh\nulimit -n 256\nexec %q \"$@\"\n", stele.Binary(t, dir, false))
	if err := os.WriteFile(limited, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s := stele.Start(t, stele.Options{Binary: limited})
	client := connect.Client(t, s.Target)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := client.Put(ctx, "a", "1"); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for range 300 {
		conn, err := net.Dial("tcp", s.Target)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// The server keeps an HTTP/1 connection that sends nothing more.
		fmt.Fprint(conn, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
		conns = append(conns, conn)
	}
	_ = conns[50].SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := conns[50].Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	open := func() int {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Pid()))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	for deadline := time.Now().Add(time.Minute); open() < 106; {
		if time.Now().After(deadline) {
			t.Fatalf("only %d files are open", open())
		}
	}
	// The files of the database and of a snapshot can still be opened.
	for i := range 20 {
		if _, err := client.Put(ctx, "a", strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	snapshot, err := client.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, snapshot); err != nil {
		t.Errorf("snapshot: %v", err)
	}
	_ = snapshot.Close()
	n := open()
	t.Logf("%d files are open", n)
	if n > 200 {
		t.Errorf("%d files of 256 are open", n)
	}
	// The waiting connections are served when others have closed.
	for _, conn := range conns {
		_ = conn.Close()
	}
	late, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Target}})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if _, err := pb.NewKVClient(late.ActiveConnection()).Range(ctx, &pb.RangeRequest{Key: []byte("a")}); err != nil {
		t.Error(err)
	}
}
