package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
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

// invocation is the parsed command line.
type invocation struct {
	settings
	comparisons []comparison
	// markdown and json are files for reports in addition to the tables on standard output, plots is a directory for
	// SVG files; empty means none.
	markdown, json, plots string
	// render names JSON files of earlier runs, separated by commas. If it is not empty, the reports are made from them
	// without measuring.
	render string
	// docs is the page whose summary is replaced, if not empty.
	docs string
	// base is the revision of Stele to compare with; if it is not empty, the benchmark only does that.
	base string
	// keep keeps the servers' data.
	keep bool
}

// command runs the command line. It fails if any slot failed.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	v, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if v.render != "" {
		reports, err := readReports(strings.Split(v.render, ","))
		if err != nil {
			return err
		}
		return v.write(reports)
	}
	dir, err := makeRunDir(v.dir)
	if err != nil {
		return err
	}
	if v.keep {
		_, _ = fmt.Fprintln(stderr, "data and logs stay in", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if v.base != "" {
		return v.checkRegressions(ctx, dir, stdout, stderr)
	}
	reports, err := v.compare(ctx, dir, stdout, stderr)
	failed := 0
	for _, r := range reports {
		failed += len(r.failures())
	}
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d failures, listed above", failed))
	}
	// Completed measurements are written even if something failed later.
	return errors.Join(err, v.write(reports))
}

// write writes the requested files.
func (v *invocation) write(reports []*report) error {
	return errors.Join(
		writeFile(v.markdown, func(w io.Writer) error {
			for _, r := range reports {
				if err := r.writeMarkdown(w); err != nil {
					return err
				}
			}
			return nil
		}),
		writeFile(v.json, func(w io.Writer) error { return writeJSON(w, reports) }),
		writePlots(v.plots, reports),
		writePage(v.docs, reports))
}

// compare makes the comparisons, each in a directory below dir, and prints each table to stdout when it is complete.
func (v *invocation) compare(ctx context.Context, dir string, stdout, stderr io.Writer) ([]*report, error) {
	var reports []*report
	for _, c := range v.comparisons {
		b := &bench{settings: v.settings, comparison: c, dir: filepath.Join(dir, c.name), runDir: dir, progress: stderr}
		if err := os.Mkdir(b.dir, 0o755); err != nil {
			return reports, err
		}
		measure := b.run
		if len(v.restarts) > 0 {
			measure = b.restart
		}
		if err := measure(ctx); err != nil {
			return reports, fmt.Errorf("%s: %w", c.title, err)
		}
		reports = append(reports, b.report)
		if err := b.report.writeText(stdout); err != nil {
			return reports, err
		}
		if v.keep {
			continue
		}
		if err := os.RemoveAll(b.dir); err != nil {
			return reports, err
		}
	}
	return reports, nil
}

// arguments are the values of flags that parse interprets.
type arguments struct {
	servers, workloads, restarts string
	quick                        bool
}

// define adds all flags to set. The values in v are the defaults.
func (a *arguments) define(set *flag.FlagSet, v *invocation) {
	s := &v.settings
	set.StringVar(&s.dir, "dir", s.dir,
		"directory on a disk, for the servers' data (default: a temporary directory)")
	set.StringVar(&s.source, "source", s.source, "root of Stele's source tree")
	set.StringVar(&s.binary, "stele", s.binary, "Stele's binary, instead of building it")
	set.StringVar(&s.baseline, "baseline", s.baseline,
		"another binary of Stele, which then takes part beside each one that is alone on its database")
	set.StringVar(&a.servers, "servers", "sqlite",
		"comparisons to make, or servers to compare: "+serverNames()+"; ratios are against the durable ones "+
			"after the first")
	set.StringVar(&a.workloads, "workloads", "",
		"regular expression that selects workloads by name (default: those of the comparison)")
	set.IntVar(&s.rounds, "rounds", s.rounds, "rounds of every workload on every server")
	set.DurationVar(&s.warmup, "warmup", s.warmup, "time before each measurement")
	set.DurationVar(&s.duration, "duration", s.duration, "time of each measurement")
	set.DurationVar(&s.settle, "settle", s.settle, "time after each measurement")
	set.IntVar(&s.connections, "connections", s.connections,
		"connections to each server; rounded up so that replicas have as many each")
	set.IntVar(&s.objects, "objects", s.objects, "objects stored before anything is measured")
	set.IntVar(&s.large, "large", s.large,
		"objects of the large set, which has workloads of its own (0: none; 100000 is usual)")
	set.IntVar(&s.watchers, "watchers", s.watchers, "also put and delete beside so many watchers of ranges of "+
		"their own, on a fifth as many streams (0: none; 100000 is usual)")
	set.StringVar(&a.restarts, "restart", "", "instead of workloads: numbers of keys, as in 100000,1000000, with "+
		"which the -servers ("+restartServers+") are killed and started again")
	set.BoolVar(&s.sweep, "sweep", false, "also get, txn and put with 1, 4, 16, 64 and 256 clients")
	set.IntVar(&s.watchRate, "watch-rate", s.watchRate, "writes a second of the watch latency workload")
	set.IntVar(&s.syncWrites, "sync-writes", s.syncWrites, "writes under strace that count syncs (0: do not count)")
	set.StringVar(&v.markdown, "markdown", "", "also write Markdown to this file")
	set.StringVar(&v.json, "json", "",
		"also write JSON, with each round, to this file: a list with an object for each comparison")
	set.StringVar(&v.plots, "plots", "", "also draw plots into this directory")
	set.StringVar(&v.render, "render", "",
		"measure nothing, but make the reports from the JSON of earlier runs: files, separated by commas")
	set.StringVar(&v.docs, "docs", "", "also replace the summary in this page; its plots and figures.md with all "+
		"tables go to the directory of the same name")
	set.BoolVar(&v.keep, "keep", false, "keep the servers' data and logs (not those of database servers)")
	set.StringVar(&v.base, "check", "",
		"a git revision: compare only this Stele with that one, and fail if this one is clearly slower or costlier")
	set.BoolVar(&a.quick, "quick", false, "seconds a server, to show that everything works; other flags still count")
}

func parse(args []string, stderr io.Writer) (*invocation, error) {
	v := &invocation{settings: defaultSettings()}
	s := &v.settings
	var a arguments
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	for _, arg := range args { // the other flags' defaults depend on this one
		if arg == "-quick" || arg == "--quick" {
			s.quicken()
		}
	}
	a.define(set, v)
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var err error
	if s.restarts, err = parseRestarts(a.restarts); err != nil {
		return nil, err
	}
	if len(s.restarts) > 0 && !given["servers"] {
		a.servers = restartServers
	}
	if v.base != "" {
		if s.baseline != "" {
			return nil, errors.New("-check builds its baseline itself: leave -baseline out")
		}
		s.forCheck(given)
		if !given["servers"] {
			a.servers = "stele"
		}
		if a.workloads == "" {
			a.workloads = checkWorkloads
		}
	}
	if v.comparisons, err = parseServers(a.servers, s.baseline != "" || v.base != ""); err != nil {
		return nil, err
	}
	if len(s.restarts) > 0 {
		of, err := restartComparison(v.comparisons)
		if err != nil {
			return nil, err
		}
		v.comparisons = []comparison{of}
	}
	chosen, err := regexp.Compile(a.workloads)
	if err != nil {
		return nil, err
	}
	for i := range v.comparisons {
		if a.workloads != "" {
			v.comparisons[i].workloads = chosen
		}
	}
	return v, s.validate()
}

// writeFile writes to the file name; it does nothing if that is empty.
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
