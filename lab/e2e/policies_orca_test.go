package e2e

import (
	"context"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/orca"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/steelyard-go/steelyard/balancers/p2c"
)

// reportingServer says in the trailer of each answer how busy it is (gRFC A51).
// Its description serves only the unary method of the test service.
type reportingServer struct {
	policyServer
	measure func(orca.ServerMetricsRecorder, float64)
	busy    atomic.Uint64 // of a float64; 1 is as busy as it should be
}

var reportingServiceDesc = grpc.ServiceDesc{
	ServiceName: policyService,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Who",
		Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			request := new(emptypb.Empty)
			if err := decode(request); err != nil {
				return nil, err
			}
			info := &grpc.UnaryServerInfo{Server: srv, FullMethod: whoMethod}
			return intercept(ctx, request, info, func(ctx context.Context, _ any) (any, error) {
				s := srv.(*reportingServer)
				s.measure(orca.CallMetricsRecorderFromContext(ctx), math.Float64frombits(s.busy.Load()))
				return s.who()
			})
		},
	}},
}

func (s *reportingServer) setBusy(utilization float64) { s.busy.Store(math.Float64bits(utilization)) }

// startReportingServers gives a test servers that end with it, and are as busy
// as given.
func startReportingServers(t *testing.T, measure func(orca.ServerMetricsRecorder, float64), busy ...float64) []*reportingServer {
	t.Helper()
	servers := make([]*reportingServer, len(busy))
	for i := range servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		servers[i] = &reportingServer{policyServer: policyServer{addr: l.Addr().String()}, measure: measure}
		servers[i].setBusy(busy[i])
		server := grpc.NewServer(orca.CallMetricsServerOption(nil))
		server.RegisterService(&reportingServiceDesc, servers[i])
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(l) }) // Stop is how it ends
		t.Cleanup(func() {
			server.Stop()
			serving.Wait()
		})
	}
	return servers
}

// A backend is drawn in proportion to its weight times what the reports make of
// it, which is the mean ÷ its own. With one call at a time nothing is in flight
// when a pick is made, and with load "requests" all scores are equal: who is
// drawn first is taken, so the shares are those of the draw. One that is three
// times as busy as each of the three others has the share ⅓ ÷ (⅓+1+1+1) = 1/10.
// The mean then is 1.2 times that of the others, so no limit to what a report may
// make of a weight comes in: it makes 0.4 and 1.2 of it. The policy draws by
// rejection from twice the weight, where a draw counts with probability
// (3·1.2+0.4)/4/2 = ½, and gives up after four: of 2^−4 of the draws the busy one
// has ¼, which adds (1/4−1/10)/16 < 0.01.
//
// A report moves the estimate by 1/64 at least, and no more where no clock is
// read. To come within a twentieth of a new value takes 64·ln 20 = 192 reports, of
// a backend that has no less than a tenth of the calls to bring them.
func TestPolicies_P2CSparesTheServerThatReportsToBeBusy(t *testing.T) {
	const (
		moderate, high = 0.3, 0.9
		settle, calls  = 1_500, 2_000
		fair, least    = 1.0 / 4, 1.0 / 10
		systematic     = 0.01
	)
	for name, measure := range map[string]func(orca.ServerMetricsRecorder, float64){
		"application": orca.ServerMetricsRecorder.SetApplicationUtilization,
		"processors":  orca.ServerMetricsRecorder.SetCPUUtilization,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers := startReportingServers(t, measure, moderate, moderate, moderate, high)
			busy, listed := servers[3], make([]*policyServer, len(servers))
			for i, s := range servers {
				listed[i] = &s.policyServer
			}
			c, _ := dialManual(t, endpointsOf(listed), p2c.Config{Load: p2c.Requests}.ServiceConfig())
			c.awaitAll(t, listed)
			requireShare := func(share float64) {
				t.Helper()
				c.spread(t, settle)
				got := float64(c.spreadParallel(t, calls, 1)[busy.addr]) / calls
				chance := 5 * math.Sqrt(share*(1-share)/calls) // is exceeded once in millions
				require.InDelta(t, share, got, systematic+chance)
			}
			requireShare(least)
			busy.setBusy(moderate)
			requireShare(fair)
		})
	}
}
