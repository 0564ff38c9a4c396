// Command run runs the storage tests against several servers, one after the other. It ends with a table of the numbers
// of passed, failed and skipped tests, without tests that have subtests.
//
// Usage, in the directory of the module: go run ./run [-next] [-run REGEXP] [TARGET...]. A target is a kind of database
// (STELE_TEST_DATABASE), with a colon and the number of replicas if there are several: sqlite, postgres, mariadb,
// postgres:3; or etcd. If etcd is a target, every result that differs from etcd's is an error.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	// The command has its own flag set, because a package that it shares with the tests would define more flags.
	flags := flag.NewFlagSet("run", flag.ExitOnError)
	only := flags.String("run", "", "run only the tests that match, as in go test")
	timeout := flags.Duration("timeout", 15*time.Minute, "end the tests of a target after this long")
	next := flags.Bool("next", false, "take the code of the next release of Kubernetes, 1.37, which lists by streams")
	_ = flags.Parse(os.Args[1:])
	targets := flags.Args()
	if len(targets) == 0 {
		targets = []string{"etcd", "sqlite", "postgres", "mariadb", "postgres:3"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := run(ctx, os.Stdout, *next, *only, *timeout, targets)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// run runs all targets, writes the table to out, and reports whether all passed.
func run(ctx context.Context, out io.Writer, next bool, only string, timeout time.Duration,
	targets []string) (bool, error) {
	dir, err := os.MkdirTemp("", "stele-apiserver-run-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "apiserver.test")
	_, _ = fmt.Fprintln(out, "building the tests: a few minutes when Kubernetes' packages are not in the build cache")
	args := []string{"test", "-trimpath", "-vet=off", "-c", "-o", binary}
	if next {
		args = append(args, "-modfile=kubernetes137.mod", "-tags=kubernetes137")
	}
	build := exec.CommandContext(ctx, "go", append(args, ".")...)
	build.Env, build.Stdout, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), out, os.Stderr
	if err := build.Run(); err != nil {
		return false, fmt.Errorf("build the tests: %w", err)
	}
	var results []*result
	for _, target := range targets {
		_, _ = fmt.Fprintf(out, "\n=== %s\n", target)
		r, err := runTarget(ctx, out, binary, only, timeout, target)
		if err != nil {
			return false, err
		}
		results = append(results, r)
		if ctx.Err() != nil {
			break
		}
	}
	ok := report(out, results)
	return ok, ctx.Err()
}

// runTarget runs the tests against one target and follows their output.
func runTarget(ctx context.Context, out io.Writer, binary, only string, timeout time.Duration,
	target string) (*result, error) {
	kind, replicas, _ := strings.Cut(target, ":")
	tests := exec.CommandContext(ctx, binary, "-test.v=test2json", "-test.run="+only, "-test.timeout="+timeout.String())
	tests.Env = append(os.Environ(), "STELE_TEST_DATABASE="+kind, "STELE_TEST_REPLICAS="+replicas)
	// SIGTERM makes the test process stop its servers.
	tests.Cancel = func() error { return tests.Process.Signal(syscall.SIGTERM) }
	tests.WaitDelay = time.Minute
	// test2json ends when the tests have ended. Its own process group protects it from Ctrl-C, so that it reads their
	// whole output.
	convert := exec.Command("go", "tool", "test2json", "-t")
	convert.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	convert.Stderr = os.Stderr
	text, err := tests.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// The logs of the clients belong to the running test, and are shown if it fails.
	tests.Stderr = tests.Stdout
	convert.Stdin = text
	events, err := convert.StdoutPipe()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := tests.Start(); err != nil {
		return nil, err
	}
	if err := convert.Start(); err != nil {
		_ = tests.Process.Signal(syscall.SIGTERM)
		_ = tests.Wait()
		return nil, err
	}
	r := follow(events, out)
	if err := convert.Wait(); err != nil {
		// No process reads the output of the tests any more.
		_ = text.Close()
		_ = tests.Wait()
		return nil, fmt.Errorf("go tool test2json: %w", err)
	}
	r.failed = tests.Wait()
	r.target, r.took = target, time.Since(start)
	return r, nil
}
