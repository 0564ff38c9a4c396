package clients

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/stele"
)

// unreading is a gRPC client that opens streams and never lets the server send on them.
type unreading struct {
	net.Conn
	framer *http2.Framer
	// mu guards writing.
	mu   sync.Mutex
	next uint32
}

func dialUnreading(t testing.TB, address string) *unreading {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	u := &unreading{Conn: conn, framer: http2.NewFramer(conn, conn), next: 1}
	if err := u.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	return u
}

// call sends one request. The stream stays open if more is set.
func (u *unreading) call(t testing.TB, method string, request proto.Message, more bool) {
	t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "x"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	message := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(encoded)))
	err = u.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: u.next, BlockFragment: block.Bytes(), EndHeaders: true,
	})
	if err == nil {
		err = u.framer.WriteData(u.next, !more, append(message, encoded...))
	}
	if err != nil {
		t.Fatal(err)
	}
	u.next += 2
}

// acknowledge answers the server's settings and pings until the connection ends.
func (u *unreading) acknowledge() {
	for {
		frame, err := u.framer.ReadFrame()
		if err != nil {
			return
		}
		u.mu.Lock()
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = u.framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			_ = u.framer.WritePing(true, frame.Data)
		}
		u.mu.Unlock()
	}
}

type measured struct {
	target string
	pid    int
}

// measuredServer runs Stele, or an etcd with STELE_TEST_SUBJECT=etcd, which has none of these bounds.
func measuredServer(t testing.TB) measured {
	t.Helper()
	if os.Getenv("STELE_TEST_SUBJECT") == "etcd" {
		s := etcd.Start(t, etcd.Options{})
		return measured{s.Target, s.Pid()}
	}
	s := stele.Start(t, stele.Options{Plain: true})
	return measured{s.Target, s.Pid()}
}

// fill writes the given number of values of a megabyte.
func fill(t testing.TB, target string, values int) {
	t.Helper()
	client := connect.Client(t, target)
	value := string(bytes.Repeat([]byte{'v'}, 1<<20))
	for i := range values {
		if _, err := client.Put(t.Context(), "unread/"+strconv.Itoa(i), value); err != nil {
			t.Fatal(err)
		}
	}
}

// works fails unless another client, and another request of the same client, are answered.
func works(t testing.TB, target string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client := connect.Client(t, target)
	got, err := client.Get(ctx, "unread/0")
	if err != nil || len(got.Kvs) != 1 {
		t.Errorf("another client's get: %v", err)
	}
}

// unreadStreams returns the number of unread streams: 200, or STELE_TEST_UNREAD_STREAMS.
func unreadStreams() int {
	n, err := strconv.Atoi(os.Getenv("STELE_TEST_UNREAD_STREAMS"))
	if err != nil {
		return 200
	}
	return n
}

// TestUnreadAnswersAreBounded requests 10 MiB on each of many streams and reads none of it.
func TestUnreadAnswersAreBounded(t *testing.T) {
	const most = 160 // MiB that the answers may take
	everything := &pb.RangeRequest{Key: []byte("unread/"), RangeEnd: []byte("unread0")}
	for name, c := range map[string]struct {
		method  string
		request proto.Message
		more    bool
	}{
		"lists":        {"/etcdserverpb.KV/Range", everything, false},
		"list streams": {"/etcdserverpb.KV/RangeStream", everything, false},
		"transactions": {"/etcdserverpb.KV/Txn", &pb.TxnRequest{Success: []*pb.RequestOp{
			{Request: &pb.RequestOp_RequestRange{RequestRange: everything}},
		}}, false},
		"single values": {"/etcdserverpb.KV/Range", &pb.RangeRequest{Key: []byte("unread/0")}, false},
		"watches": {"/etcdserverpb.Watch/Watch",
			&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
				Key: []byte("unread/"), RangeEnd: []byte("unread0"), StartRevision: 1,
			}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := measuredServer(t)
			fill(t, s.target, 10)
			before := peakMiB(t, s.pid)
			client := dialUnreading(t, s.target)
			n := unreadStreams()
			go client.acknowledge()
			for range n {
				client.call(t, c.method, c.request, c.more)
			}
			settled(t, s.pid)
			works(t, s.target)
			after := peakMiB(t, s.pid)
			t.Logf("%d streams: %d MiB before, %d MiB after", n, before, after)
			if after-before > most {
				t.Errorf("%d unread streams took %d MiB", n, after-before)
			}
		})
	}
}

// settled waits until the server's processor time has stopped growing for a moment.
func settled(t testing.TB, pid int) {
	t.Helper()
	used := func() string {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := bytes.Fields(stat)
		return string(fields[13]) + " " + string(fields[14])
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last, same := used(), 0
	for deadline := time.Now().Add(time.Minute); same < 5 && time.Now().Before(deadline); <-tick.C {
		if now := used(); now == last {
			same++
		} else {
			last, same = now, 0
		}
	}
}
