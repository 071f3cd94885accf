// Package e2e tests Steelyard end to end: real etcd, real gRPC servers and
// clients, real faults.
package e2e

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

var (
	long     = flag.Bool("long", false, "run the long faults too")
	baseline = flag.Bool("baseline", false, "play the faults against etcd's own resolver too, and print the table")
)

// TestMain finds goroutines that a test leaves behind. An embedded etcd that
// was closed leaves none, so nothing is exempt.
func TestMain(m *testing.M) {
	localetcd.RunIfChild()
	runIfOwners()
	flag.Parse()
	playMoreAtOnce()
	if *baseline {
		os.Exit(m.Run()) // etcd's own resolver leaves goroutines behind
	}
	goleak.VerifyTestMain(m)
}

// atOnce is how many parallel tests run beside each other unless -parallel says
// otherwise: one per processor is too few, they mostly wait.
const atOnce = "8"

func playMoreAtOnce() {
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		_ = flag.Set("test.parallel", atOnce)
	}
}
