package apiserver

import (
	"io"
	"os"
	"testing"

	"google.golang.org/grpc/grpclog"
	"k8s.io/klog/v2"

	"github.com/stele-db/stele/test/apiserver/internal/server"
)

func TestMain(m *testing.M) {
	// gRPC would log much about servers that are stopped.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	if os.Getenv("STELE_TEST_LOG") == "" {
		klog.LogToStderr(false)
		klog.SetOutput(io.Discard)
	}
	os.Exit(server.Main(m))
}
