package clients

import (
	"bytes"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/test/internal/stele"
	"github.com/stele-db/stele/test/internal/target"
)

// TestLargeTransaction writes 100 MiB in one revision, with raised limits, and reads it back in pages.
func TestLargeTransaction(t *testing.T) {
	const puts, size = 80, 1_310_720
	if kind := stele.Kind(); kind == "mariadb" || kind == "galera" {
		t.Skip("the servers that tests start have MariaDB's default max_allowed_packet, with which Stele refuses " +
			"such a limit at the start; the driver's own tests append as much")
	}
	s := target.Subject(t, "--max-request-bytes", "209715200", "--max-txn-ops", "1000", "--request-timeout", "60s")
	txn := &pb.TxnRequest{}
	value := func(i int) []byte { return bytes.Repeat([]byte{byte(i + 1)}, size) }
	for i := range puts {
		txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{
			Key: fmt.Appendf(nil, "large/%03d", i), Value: value(i),
		}}})
	}
	response, err := s.KV.Txn(t.Context(), txn)
	if err != nil {
		t.Fatal(err)
	}
	for i := range puts {
		key := fmt.Appendf(nil, "large/%03d", i)
		got, err := s.KV.Range(t.Context(), &pb.RangeRequest{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Kvs) != 1 || got.Kvs[0].ModRevision != response.Header.Revision ||
			!bytes.Equal(got.Kvs[0].Value, value(i)) {
			t.Fatalf("%s is not what was written", key)
		}
	}
}
