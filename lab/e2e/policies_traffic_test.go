package e2e

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// failedCall is a call that failed under traffic.
type failedCall struct {
	err    error
	server string // that it was sent to, "" for none
	worker int
}

// traffic is calls that run until stopped.
type traffic struct {
	stop    context.CancelFunc
	running sync.WaitGroup
	made    atomic.Int64

	mu       sync.Mutex
	failures []failedCall
}

// keepCalling has so many workers call all the time.
func (c *policyClient) keepCalling(tb testing.TB, workers int) *traffic {
	tb.Helper()
	stopped, stop := context.WithCancel(tb.Context())
	tr := &traffic{stop: stop}
	ctx := policyContext(tb) // not stopped: stop lets calls finish
	for worker := range workers {
		tr.running.Go(func() {
			for stopped.Err() == nil {
				var at peer.Peer
				_, err := c.call(ctx, grpc.Peer(&at))
				tr.made.Add(1)
				if err != nil {
					tr.failed(err, at, worker)
				}
			}
		})
	}
	tb.Cleanup(func() { tr.end() })
	return tr
}

func (tr *traffic) failed(err error, at peer.Peer, worker int) {
	failed := failedCall{err: err, worker: worker}
	if at.Addr != nil {
		failed.server = at.Addr.String()
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.failures = append(tr.failures, failed)
}

// await waits until so many more calls have been made.
func (tr *traffic) await(tb testing.TB, calls int64) {
	tb.Helper()
	want := tr.made.Load() + calls
	require.Eventually(tb, func() bool { return tr.made.Load() >= want }, waitLimit, pollInterval)
}

// end lets the last calls finish and returns those that failed.
func (tr *traffic) end() []failedCall {
	tr.stop()
	tr.running.Wait()
	return tr.failures
}
