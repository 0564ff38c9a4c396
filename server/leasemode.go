package server

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
)

var (
	errLeaseMode     = status.Error(codes.FailedPrecondition, "stele: "+logstructured.ErrLeaseMode.Error())
	errLeaseIdentity = status.Error(codes.FailedPrecondition, "stele: "+logstructured.ErrLeaseIdentity.Error())
)
