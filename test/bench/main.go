package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// output says where reports go beside the table on standard output.
type output struct{ markdown, json string }

// command does what the arguments say. It fails if any slot failed: a benchmark of errors is none.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	s, to, keep, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := makeRunDir(s.dir)
	if err != nil {
		return err
	}
	if keep {
		_, _ = fmt.Fprintln(stderr, "data and logs stay in", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	b := &bench{settings: s, dir: dir, progress: stderr}
	if err := b.run(ctx); err != nil {
		return err
	}
	if err := b.report.writeText(stdout); err != nil {
		return err
	}
	if err := writeFile(to.markdown, b.report.writeMarkdown); err != nil {
		return err
	}
	if err := writeFile(to.json, b.report.writeJSON); err != nil {
		return err
	}
	if n := len(b.report.failures()); n > 0 {
		return fmt.Errorf("%d failures, listed above", n)
	}
	return nil
}

func parse(args []string, stderr io.Writer) (settings, output, bool, error) {
	s := defaultSettings()
	var to output
	var keep, quick bool
	var servers, workloads string
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	define := func() {
		set.StringVar(&s.dir, "dir", s.dir, "directory on a disk, for the servers' data (default: a temporary directory)")
		set.StringVar(&s.source, "source", s.source, "root of Stele's source tree")
		set.StringVar(&s.binary, "stele", s.binary, "Stele's binary, instead of building it")
		set.StringVar(&s.baseline, "baseline", s.baseline, "another binary of Stele, which then takes part as stele-baseline")
		set.StringVar(&servers, "servers", strings.Join(s.servers, ","), "servers to compare; ratios are against the durable ones after the first")
		set.StringVar(&workloads, "workloads", "", "regular expression that selects workloads by name")
		set.IntVar(&s.rounds, "rounds", s.rounds, "rounds of every workload on every server")
		set.DurationVar(&s.warmup, "warmup", s.warmup, "time before each measurement")
		set.DurationVar(&s.duration, "duration", s.duration, "time of each measurement")
		set.DurationVar(&s.settle, "settle", s.settle, "time after each measurement")
		set.IntVar(&s.connections, "connections", s.connections, "connections to each server")
		set.IntVar(&s.objects, "objects", s.objects, "objects stored before anything is measured")
		set.IntVar(&s.large, "large", s.large, "objects of the large set, which has workloads of its own (0: none; 100000 is usual)")
		set.IntVar(&s.watchRate, "watch-rate", s.watchRate, "writes a second of the watch latency workload")
		set.IntVar(&s.syncWrites, "sync-writes", s.syncWrites, "writes under strace that count syncs (0: do not count)")
		set.StringVar(&to.markdown, "markdown", "", "also write Markdown to this file")
		set.StringVar(&to.json, "json", "", "also write JSON, with each round, to this file")
		set.BoolVar(&keep, "keep", false, "keep the servers' data and logs")
		set.BoolVar(&quick, "quick", false, "a run of about a minute that shows that everything works; other flags still count")
	}
	for _, a := range args { // the other flags' defaults depend on this one
		if a == "-quick" || a == "--quick" {
			s.quicken()
		}
	}
	define()
	if err := set.Parse(args); err != nil {
		return s, to, keep, err
	}
	if set.NArg() > 0 {
		return s, to, keep, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	s.servers = strings.Split(servers, ",")
	if s.baseline != "" {
		s.servers = append(s.servers, "stele-baseline")
	}
	var err error
	if s.workloads, err = regexp.Compile(workloads); err != nil {
		return s, to, keep, err
	}
	return s, to, keep, s.validate()
}

// writeFile writes to the file name, or nothing if that is empty.
func writeFile(name string, write func(io.Writer) error) (err error) {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}
