package endpoint

import (
	"net"
	"path/filepath"
	"strings"
)

// WithTLS returns the address to listen on where there is a certificate. By kine's rule there is TLS then, whatever the
// scheme says.
func WithTLS(address string) string {
	for _, plain := range []string{"http://", "unix://"} {
		if rest, ok := strings.CutPrefix(address, plain); ok {
			return strings.TrimSuffix(plain, "://") + "s://" + rest
		}
	}
	return address
}

// withoutTLS is the opposite, for a listener whose gRPC server brings its own TLS.
func withoutTLS(address string) string {
	for _, secure := range []string{"https://", "unixs://"} {
		if rest, ok := strings.CutPrefix(address, secure); ok {
			return strings.TrimSuffix(secure, "s://") + "://" + rest
		}
	}
	return address
}

// Reachable is the URL for a client on this machine of one that is listened on: no address that means every interface.
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

// Absolute is the URL for a client in another working directory.
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
