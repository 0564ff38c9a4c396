// Package grpcurl pins grpcurl, whose dependencies are many.
package grpcurl
