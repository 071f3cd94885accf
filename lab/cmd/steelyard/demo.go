package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/steelyard-go/steelyard/lab/internal/demo"
)

const demoHelp = `Shows what Steelyard does, on real parts: an etcd, six gRPC servers in two zones
with the weights 1, 2 and 4 that register there, and one client per policy that
discovers them through etcd. Every server is a process of its own, and so is
etcd; nothing has to be installed, and nothing is left behind.

Part 1 makes some thousands of calls with each client and shows which server got
which share of them, next to the share that the policy promises.

Part 2 changes things while the clients keep calling: a weight changes, a server
drains and leaves, another is killed and its lease runs out, a new one joins,
etcd is killed and restarted. Each line says how long it took until the last
client had followed, how many connections were made, and how many calls failed.

It takes about half a minute. The exit status is 0 if all came out as promised,
1 if something did not, which is said at the end, and 130 after Ctrl-C.`

const demoExamples = `  steelyard demo
  steelyard demo --policy weighted,p2c --calls 10000
  steelyard demo --etcd 127.0.0.1:2379`

func demoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Watch servers, policies and etcd at work, and under faults",
		Long:    demoHelp,
		Example: demoExamples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out = cmd.OutOrStdout()
			return demo.Run(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.Policies, "policy", nil,
		"policies to show, by `name` or short name, repeated or with commas: "+strings.Join(demo.PolicyNames(), ", ")+" (default all)")
	flags.IntVar(&o.Calls, "calls", demo.DefaultCalls, "`number` of calls by each client in part 1, 400 to 20000")
	flags.Uint64Var(&o.Seed, "seed", 1, "`number` that draws the keys of the calls; what the policies draw is random always")
	flags.StringVar(&o.Etcd, "etcd", "",
		"`host:port` of your own etcd, without TLS: it is not killed, and only keys of a new service are written and removed (default: one is started)")
	return cmd
}
