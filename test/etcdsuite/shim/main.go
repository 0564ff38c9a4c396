// Command shim has the command line of etcd and runs Stele in its place, or the real etcd. It reads ETCDSUITE_TARGET
// from the environment, and the paths of the programs from ETCDSUITE_ETCD and ETCDSUITE_STELE.
package main

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	target = "ETCDSUITE_TARGET"
	etcd   = "ETCDSUITE_ETCD"
	stele  = "ETCDSUITE_STELE"
	// started is the file whose existence shows that the test has started a server.
	started = "started"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "shim:", err)
		os.Exit(1)
	}
}

// run replaces this process by the server.
func run(args []string) error {
	flags := parse(args)
	_, version := flags["version"]
	_, help := flags["help"]
	// The commands gateway and grpc-proxy are clients.
	command := len(args) > 0 && !strings.HasPrefix(args[0], "-")
	if version || help || command {
		return execute(os.Getenv(etcd), args)
	}
	if err := os.WriteFile(filepath.Join(os.TempDir(), started), nil, 0o600); err != nil {
		return err
	}
	if os.Getenv(target) == "etcd" {
		return execute(os.Getenv(etcd), args)
	}
	translated, err := translate(flags)
	if err != nil {
		return err
	}
	return execute(os.Getenv(stele), translated)
}

// execute runs a program that ends with the test: the end-to-end tests give each server a session of its own, and a
// server that a test left behind would hold the ports of the next one.
func execute(binary string, args []string) error {
	runtime.LockOSThread() // the setting belongs to the thread
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set the signal at the end of the test: %w", err)
	}
	return syscall.Exec(binary, append([]string{binary}, args...), os.Environ())
}

// parse splits arguments of the forms --name=value, --name value, and --name of a boolean.
func parse(args []string) map[string]string {
	flags := map[string]string{}
	for i := 0; i < len(args); i++ {
		name, value, found := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		switch {
		case found:
		case i+1 < len(args) && !strings.HasPrefix(args[i+1], "-"):
			i++
			value = args[i]
		default:
			value = "true"
		}
		flags[name] = value
	}
	return flags
}

// translations are Stele's names of flags. Flags that are not here concern peers, or files that Stele does not have.
var translations = map[string]string{
	"name":                           "name",
	"advertise-client-urls":          "advertise-client-urls",
	"cors":                           "cors",
	"cert-file":                      "server-cert-file",
	"key-file":                       "server-key-file",
	"trusted-ca-file":                "trusted-ca-file",
	"client-cert-auth":               "client-cert-auth",
	"client-crl-file":                "client-crl-file",
	"tls-min-version":                "tls-min-version",
	"tls-max-version":                "tls-max-version",
	"cipher-suites":                  "cipher-suites",
	"auth-token":                     "auth-token",
	"auth-token-ttl":                 "auth-token-ttl",
	"bcrypt-cost":                    "bcrypt-cost",
	"quota-backend-bytes":            "quota-backend-bytes",
	"max-txn-ops":                    "max-txn-ops",
	"max-request-bytes":              "max-request-bytes",
	"max-concurrent-streams":         "max-concurrent-streams",
	"grpc-keepalive-min-time":        "grpc-keepalive-min-time",
	"grpc-keepalive-interval":        "grpc-keepalive-interval",
	"grpc-keepalive-timeout":         "grpc-keepalive-timeout",
	"watch-progress-notify-interval": "watch-progress-notify-interval",
	"auto-compaction-mode":           "auto-compaction-mode",
	"auto-compaction-retention":      "auto-compaction-retention",
}

// translate returns the command line of Stele.
func translate(flags map[string]string) ([]string, error) {
	endpoint, err := database(flags)
	if err != nil {
		return nil, err
	}
	address, err := listen(strings.Split(cmp.Or(flags["listen-client-urls"], "http://localhost:2379"), ","))
	if err != nil {
		return nil, err
	}
	args := []string{"--listen-address=" + address, "--endpoint=" + endpoint, "--lease-mode=etcd", "--insecure-listen"}
	if flags["auto-tls"] == "true" {
		if err := selfSign(flags); err != nil {
			return nil, err
		}
	}
	for name, translation := range translations {
		if value, ok := flags[name]; ok {
			args = append(args, "--"+translation+"="+value)
		}
	}
	if u, err := url.Parse(flags["listen-metrics-urls"]); err == nil && u.Host != "" {
		args = append(args, "--metrics-bind-address="+u.Host)
	}
	return args, nil
}

// selfSign makes a certificate of the member's own, as etcd does for --auto-tls, and sets the flags for it.
func selfSign(flags map[string]string) error {
	if err := os.MkdirAll(flags["data-dir"], 0o700); err != nil {
		return err
	}
	info, err := transport.SelfCert(zap.NewNop(), flags["data-dir"], []string{"localhost"}, 1)
	flags["cert-file"], flags["key-file"] = info.CertFile, info.KeyFile
	return err
}

// database returns the DSN that the members of a cluster share. A cluster is known by its test, whose directory the
// data directories are in, and by the URLs of its peers.
func database(flags map[string]string) (string, error) {
	dir, err := filepath.Abs(cmp.Or(flags["data-dir"], cmp.Or(flags["name"], "default")+".etcd"))
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Rel(os.TempDir(), dir); err != nil {
		return "", err
	}
	dir, _, _ = strings.Cut(dir, string(filepath.Separator))
	if strings.Contains(flags["initial-cluster"], "unix://") {
		dir = "" // The sockets of peers are those of one cluster only.
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(dir + " " + flags["initial-cluster"]))
	name := fmt.Sprintf("c%016x", hash.Sum64())
	dsn := os.Getenv(target)
	if dsn == "sqlite" {
		return "sqlite://" + filepath.Join(os.TempDir(), dir, name+".db"), nil
	}
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return dsn + separator + "table_prefix=" + name, nil
}

// listen returns the first of the URLs. Further ones that are Unix sockets become links to it.
func listen(urls []string) (string, error) {
	path, unix := socket(urls[0])
	for _, u := range urls[1:] {
		other, ok := socket(u)
		if !ok || !unix {
			continue
		}
		if err := os.Remove(other); err != nil && !os.IsNotExist(err) {
			return "", err
		}
		if err := os.Symlink(path, other); err != nil {
			return "", err
		}
	}
	return urls[0], nil
}

// socket returns the path of a Unix socket.
func socket(address string) (path string, ok bool) {
	scheme, path, _ := strings.Cut(address, "://")
	return path, strings.HasPrefix(scheme, "unix")
}
