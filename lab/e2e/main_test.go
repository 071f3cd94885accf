// Package e2e tests Steelyard end to end: real etcd, real gRPC servers and
// clients, real faults.
package e2e

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// TestMain finds goroutines that a test leaves behind. An embedded etcd that
// was closed leaves none, so nothing is exempt.
func TestMain(m *testing.M) {
	localetcd.RunIfChild()
	runIfOwners()
	goleak.VerifyTestMain(m)
}
