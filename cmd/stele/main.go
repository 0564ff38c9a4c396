package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		// The second signal ends the process immediately, with the exit code of a shell.
		code := 128
		if s, ok := (<-signals).(syscall.Signal); ok {
			code += int(s)
		}
		os.Exit(code)
	}()
	if err := execute(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, errLogged) {
			fmt.Fprintf(os.Stderr, "stele: %v\n", err)
		}
		os.Exit(1)
	}
}
