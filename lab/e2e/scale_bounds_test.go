package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/steelyard-go/steelyard/etcdresolver"
)

func TestScale_UpdatesAreBoundedByTheDebounce(t *testing.T) {
	const seconds = 2
	etcd := startScale(t, 1000)
	cc := buildScale(t, newScaleBuilder(etcd.Client()))
	defer cc.Close()
	cc.requireList(t, etcd.size)
	before, began := cc.count(), time.Now()
	etcd.write(t, scaleCommand{Changes: 1000 * seconds, Every: time.Millisecond, Mark: true})
	took := time.Since(began).Seconds()
	require.True(t, cc.await(etcd.size+1, inPeace), "the last change within %v", inPeace)
	updates := float64(cc.count() - before)
	require.LessOrEqual(t, updates, 10*took+1, "updates in %.1f s with 1,000 changes each", took)
	require.GreaterOrEqual(t, updates, 2*took, "updates while changes go on for %.1f s", took)
}

// Until gRPC needs a list, what an event costs must not depend on its length.
func TestScale_EventsCostNothingPerEndpoint(t *testing.T) {
	short, long := bytesPerEvent(t, 100), bytesPerEvent(t, 10_000)
	t.Logf("%.0f bytes allocated per event with 100 endpoints, %.0f with 10,000", short, long)
	require.Less(t, long, 2*short)
}

// bytesPerEvent gives what is allocated for an event, in etcd's client too.
func bytesPerEvent(tb testing.TB, size int) float64 {
	tb.Helper()
	const events = 1000
	etcd := startScale(tb, size)
	builder := newScaleBuilder(etcd.Client(), etcdresolver.WithDebounce(time.Hour))
	cc := buildScale(tb, builder)
	defer cc.Close()
	cc.requireList(tb, size)
	before, listed := scaleAllocated(), builder.Stats()[0].Revision
	etcd.write(tb, scaleCommand{Changes: events})
	require.Eventually(tb, func() bool { return builder.Stats()[0].Revision == listed+events }, waitLimit, tick)
	require.Equal(tb, 1, cc.count(), "updates: only the list")
	return (scaleAllocated() - before) / events
}

func TestScale_ThousandChannelsShareOneWatch(t *testing.T) {
	const channels = 1000
	etcd := startScale(t, 1)
	none := etcd.watches(t)
	builder := newScaleBuilder(etcd.Client())
	conns := make([]*grpc.ClientConn, channels)
	for i := range conns {
		var err error
		conns[i], err = grpc.NewClient("etcd:///"+scaleService,
			grpc.WithResolvers(builder),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(dialSilentServer))
		require.NoError(t, err)
		defer func() { _ = conns[i].Close() }()
		conns[i].Connect()
	}
	for _, conn := range conns {
		awaitReady(t, conn)
	}
	require.Equal(t, none+2, etcd.watches(t), "one watch of the instances and one of the overrides")
	require.Equal(t, channels, builder.Stats()[0].Channels)
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	require.Eventually(t, func() bool { return etcd.watches(t) == none }, waitLimit, tick, "watches left behind")
}

func awaitReady(tb testing.TB, conn *grpc.ClientConn) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		require.True(tb, conn.WaitForStateChange(ctx, state), "the channel is %v", state)
	}
}

// watches returns how many etcd serves, by its own count.
func (e *scaleEtcd) watches(tb testing.TB) float64 {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/metrics", e.Addr()), http.NoBody)
	require.NoError(tb, err)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	require.NoError(tb, err)
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "etcd_debugging_mvcc_watcher_total "); ok {
			count, err := strconv.ParseFloat(text, 64)
			require.NoError(tb, err)
			return count
		}
	}
	require.Fail(tb, "etcd does not count its watches", "read to %v", lines.Err())
	return 0
}
