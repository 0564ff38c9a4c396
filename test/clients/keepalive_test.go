package clients

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/test/internal/target"
)

// TestKeepAlive pings a connection with a watch. Clients may ping every 5 seconds, but not much more often: etcd's
// client pings every 10 seconds, whereas grpc's default allows one ping in 5 minutes.
func TestKeepAlive(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...string) *target.Target{
		"etcd": target.Reference, "stele": target.Subject,
	} {
		for _, c := range []struct {
			name     string
			interval time.Duration
			refused  bool
		}{
			{"every 100ms", 100 * time.Millisecond, true},
			// The number of pings is the one that is too many in the other case.
			{"every 5.1s", 5100 * time.Millisecond, false},
		} {
			t.Run(name+" "+c.name, func(t *testing.T) {
				t.Parallel()
				err := ping(t, start(t).Address, c.interval, 5)
				if c.refused != errors.Is(err, errTooManyPings) || !c.refused && err != nil {
					t.Errorf("outcome is %v, want too many pings: %v", err, c.refused)
				}
			})
		}
	}
}

var errTooManyPings = errors.New("GOAWAY too_many_pings")

// ping opens a watch and sends n pings. grpc's own client cannot ping that often, so this is plain HTTP/2.
func ping(t *testing.T, address string, interval time.Duration, n int) error {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Duration(n)*interval + 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := errors.Join(framer.WriteSettings(), framer.WriteHeaders(watchHeaders(address)),
		framer.WriteData(1, false, watchMessage(t))); err != nil {
		t.Fatal(err)
	}

	sent := 0
	tick := time.NewTicker(interval)
	defer tick.Stop()
	failed := make(chan error, 1)
	acknowledged := make(chan struct{}, n)
	go func() {
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				failed <- err
				return
			}
			switch f := frame.(type) {
			case *http2.GoAwayFrame:
				if f.ErrCode == http2.ErrCodeEnhanceYourCalm && string(f.DebugData()) == "too_many_pings" {
					failed <- errTooManyPings
				} else {
					failed <- errors.New(f.String())
				}
				return
			case *http2.PingFrame:
				if f.IsAck() {
					acknowledged <- struct{}{}
				}
			}
		}
	}()
	for acks := 0; acks < n; {
		select {
		case err := <-failed:
			return err
		case <-acknowledged:
			acks++
		case <-tick.C:
			if sent < n {
				sent++
				if err := framer.WritePing(false, [8]byte{byte(sent)}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func watchHeaders(address string) http2.HeadersFrameParam {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, h := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", "/etcdserverpb.Watch/Watch"},
		{":authority", address},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}) // a buffer takes everything
	}
	return http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}
}

// watchMessage returns the creation of a watcher in grpc's framing.
func watchMessage(t *testing.T) []byte {
	t.Helper()
	body, err := proto.Marshal(&pb.WatchRequest{
		RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("k")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
}
