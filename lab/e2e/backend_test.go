package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The test service: Who answers with the address of the server that it
// reached, Hold does so at once and then echoes until the client has said all.
const (
	policyService = "steelyard.e2e.Policy"
	whoMethod     = "/" + policyService + "/Who"
	holdMethod    = "/" + policyService + "/Hold"
)

var policyServiceDesc = grpc.ServiceDesc{
	ServiceName: policyService,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Who",
		Handler: func(srv any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := decode(new(emptypb.Empty)); err != nil {
				return nil, err
			}
			return srv.(*policyServer).who()
		},
	}},
	Streams: []grpc.StreamDesc{{
		StreamName:    "Hold",
		ServerStreams: true,
		ClientStreams: true,
		Handler:       func(srv any, stream grpc.ServerStream) error { return srv.(*policyServer).hold(stream) },
	}},
}

// policyServer is a real gRPC server on a port of its own that counts its
// connections and calls, and can be killed and started again.
type policyServer struct {
	addr     string
	health   *health.Server
	calls    atomic.Int64 // unary calls and streams begun
	lastCall atomic.Int64 // when the last one began, in ns since 1970
	failing  atomic.Bool  // unary calls fail with Unavailable
	accepted atomic.Int64 // connections
	closed   atomic.Int64 // of those

	mu    sync.Mutex
	grpc  *grpc.Server
	conns map[*countedConn]struct{}
	done  chan struct{} // closed when the server that runs now no longer serves
}

// startPolicyServer gives a test a server that ends with the test.
func startPolicyServer(tb testing.TB) *policyServer {
	tb.Helper()
	s := &policyServer{health: health.NewServer(), conns: make(map[*countedConn]struct{})}
	s.listen(tb, "127.0.0.1:0")
	tb.Cleanup(s.kill)
	return s
}

func startPolicyServers(tb testing.TB, n int) []*policyServer {
	tb.Helper()
	servers := make([]*policyServer, n)
	for i := range servers {
		servers[i] = startPolicyServer(tb)
	}
	return servers
}

func (s *policyServer) listen(tb testing.TB, addr string) {
	tb.Helper()
	var (
		l   net.Listener
		err error
	)
	// The port of a killed server may be some connection's for a moment.
	require.Eventually(tb, func() bool {
		l, err = net.Listen("tcp", addr)
		return err == nil
	}, 5*time.Second, 10*time.Millisecond, "listen on %s", addr)
	s.addr = l.Addr().String()
	server, done := grpc.NewServer(), make(chan struct{})
	server.RegisterService(&policyServiceDesc, s)
	healthpb.RegisterHealthServer(server, s.health)
	s.mu.Lock()
	s.grpc, s.done = server, done
	s.mu.Unlock()
	go func() {
		defer close(done)
		_ = server.Serve(&countingListener{Listener: l, server: s}) // Stop is how it ends
	}()
}

// kill cuts everything off as the death of the process would: the listener goes
// and all connections are reset, without a GOAWAY.
func (s *policyServer) kill() {
	s.mu.Lock()
	server, done := s.grpc, s.done
	for conn := range s.conns {
		_ = conn.SetLinger(0)
		_ = conn.TCPConn.Close()
	}
	s.mu.Unlock()
	server.Stop()
	<-done
}

// restart starts a killed server on its old port.
func (s *policyServer) restart(tb testing.TB) {
	tb.Helper()
	s.listen(tb, s.addr)
}

func (s *policyServer) who() (*wrapperspb.StringValue, error) {
	s.count()
	if s.failing.Load() {
		return nil, status.Errorf(codes.Unavailable, "%s fails on purpose", s.addr)
	}
	return wrapperspb.String(s.addr), nil
}

func (s *policyServer) hold(stream grpc.ServerStream) error {
	s.count()
	if err := stream.SendMsg(wrapperspb.String(s.addr)); err != nil {
		return err
	}
	for {
		said := new(wrapperspb.StringValue)
		err := stream.RecvMsg(said)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = stream.SendMsg(said)
		}
		if err != nil {
			return err
		}
	}
}

func (s *policyServer) count() {
	s.calls.Add(1)
	s.lastCall.Store(time.Now().UnixNano())
}

// setHealthy sets what the server says to client-side health checks.
func (s *policyServer) setHealthy(healthy bool) {
	state := healthpb.HealthCheckResponse_NOT_SERVING
	if healthy {
		state = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(policyService, state)
}

// connections returns how many connections the servers have accepted and how
// many of them have ended, in all.
func connections(servers []*policyServer) (accepted, closed int64) {
	for _, s := range servers {
		accepted += s.accepted.Load()
		closed += s.closed.Load()
	}
	return accepted, closed
}

type countingListener struct {
	net.Listener
	server *policyServer
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	counted := &countedConn{TCPConn: conn.(*net.TCPConn), server: l.server}
	l.server.mu.Lock()
	l.server.conns[counted] = struct{}{}
	l.server.mu.Unlock()
	l.server.accepted.Add(1)
	return counted, nil
}

type countedConn struct {
	*net.TCPConn
	server *policyServer
	once   sync.Once
}

// Close is also called by gRPC when the other side has closed.
func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.server.mu.Lock()
		delete(c.server.conns, c)
		c.server.mu.Unlock()
		c.server.closed.Add(1)
	})
	return c.TCPConn.Close()
}
