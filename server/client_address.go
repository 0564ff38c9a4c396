package server

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// pipeNetwork is the network of a [net.Pipe], through which the JSON gateway reaches the gRPC server.
const pipeNetwork = "pipe"

// clientHost returns the host of the client's address, or the name of its network if that has no hosts. For a request
// through the JSON gateway it returns the host of the gateway's client.
func clientHost(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return "unknown"
	}
	if p.Addr.Network() == pipeNetwork { // the gateway appends the address of its client to the header
		hosts := strings.Join(metadata.ValueFromIncomingContext(ctx, "x-forwarded-for"), ",")
		return cmp.Or(strings.TrimSpace(hosts[strings.LastIndexByte(hosts, ',')+1:]), pipeNetwork)
	}
	return hostOf(p.Addr)
}

// hostOf returns the host of an address, or the name of its network if that has no hosts.
func hostOf(addr net.Addr) string {
	if host, _, err := net.SplitHostPort(addr.String()); err == nil {
		return host
	}
	return addr.Network()
}

// clientOf identifies the client of a request for per-client limits. It returns the client's host, and for an IPv6
// address its network of 64 bits, which usually belongs to one machine.
func clientOf(ctx context.Context) string { return networkOf(clientHost(ctx)) }

// networkOf is clientOf for a host.
func networkOf(host string) string {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		network, _ := ip.Prefix(64) // an IPv6 address has at least 64 bits
		return network.String()
	}
	return ip.String()
}
