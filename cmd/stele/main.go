package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the next one has its default effect: it ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := execute(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "stele: %v\n", err)
		os.Exit(1)
	}
}
