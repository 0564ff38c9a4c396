package endpoint

import (
	"net"
	"path/filepath"
	"strings"
)

// WithTLS returns the address to listen on with a certificate. As in kine, a certificate enables TLS whatever the
// scheme is.
func WithTLS(address string) string {
	for _, plain := range []string{"http://", "unix://"} {
		if rest, ok := strings.CutPrefix(address, plain); ok {
			return strings.TrimSuffix(plain, "://") + "s://" + rest
		}
	}
	return address
}

// withoutTLS is the inverse of WithTLS, for a gRPC server that does TLS itself.
func withoutTLS(address string) string {
	for _, secure := range []string{"https://", "unixs://"} {
		if rest, ok := strings.CutPrefix(address, secure); ok {
			return strings.TrimSuffix(secure, "s://") + "://" + rest
		}
	}
	return address
}

// Reachable returns the URL for a client on this machine. It replaces an address that stands for all interfaces.
func Reachable(url string) string {
	scheme, address, _ := strings.Cut(url, "://")
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.HasPrefix(scheme, "unix") {
		return url
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return scheme + "://" + net.JoinHostPort("127.0.0.1", port)
	}
	return url
}

// Absolute returns the URL for a client in another working directory.
func Absolute(url string) string {
	scheme, path, _ := strings.Cut(url, "://")
	if !strings.HasPrefix(scheme, "unix") || strings.HasPrefix(path, "@") {
		return url
	}
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return scheme + "://" + path
}
