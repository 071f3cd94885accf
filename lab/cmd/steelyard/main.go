// Command steelyard shows what Steelyard does.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/steelyard-go/steelyard/lab/internal/demo"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// interrupted is the exit status of a program that Ctrl-C ended, as shells have it.
const interrupted = 130

func main() {
	// Servers and etcd are processes made of this binary.
	localetcd.RunIfChild()
	demo.RunIfChild()
	os.Exit(run())
}

func run() int {
	// When whoever reads the output leaves, a write fails and there is time to clean up.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for the cleaning up

	err := root().ExecuteContext(ctx)
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "steelyard:", err)
		return 1
	}
	if ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "steelyard: interrupted")
		if err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, "steelyard:", err)
		}
		return interrupted
	}
	return 0
}

func root() *cobra.Command {
	root := &cobra.Command{
		Use:           "steelyard",
		Short:         "Load balancing for gRPC-Go by the weights that stand in etcd",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(demoCommand())
	return root
}
