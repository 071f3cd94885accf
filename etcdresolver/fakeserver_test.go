package etcdresolver

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fakeServer is just enough of an etcd for a real client: one instance stands in it
// for ever, and users log in as the test wants.
type fakeServer struct {
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer
	pb.UnimplementedAuthServer
	addr  string
	login func(ctx context.Context, n int) error // the nth one

	mu     sync.Mutex
	logins int
}

// startServer stops it with the test, or when the returned function is called.
func startServer(t *testing.T, login func(ctx context.Context, n int) error) (server *fakeServer, stop func()) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server = &fakeServer{addr: listener.Addr().String(), login: login}
	s := grpc.NewServer()
	pb.RegisterKVServer(s, server)
	pb.RegisterWatchServer(s, server)
	pb.RegisterAuthServer(s, server)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	stop = sync.OnceFunc(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return server, stop
}

func (s *fakeServer) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	response := &pb.RangeResponse{Header: &pb.ResponseHeader{ClusterId: 7, Revision: 5}}
	if string(r.Key) == "payments/" {
		response.Kvs = []*mvccpb.KeyValue{{Key: []byte("payments/a"), Value: []byte(addrA), CreateRevision: 2, ModRevision: 2}}
	}
	return response, nil
}

func (s *fakeServer) Watch(stream pb.Watch_WatchServer) error {
	for id := int64(0); ; id++ {
		request, err := stream.Recv()
		if err != nil {
			return status.Error(codes.Canceled, "the client left")
		}
		if request.GetCreateRequest() != nil {
			created := &pb.WatchResponse{Header: &pb.ResponseHeader{ClusterId: 7, Revision: 5}, WatchId: id, Created: true}
			if err := stream.Send(created); err != nil {
				return err
			}
		}
	}
}

func (s *fakeServer) Authenticate(ctx context.Context, _ *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	s.mu.Lock()
	s.logins++
	n := s.logins
	s.mu.Unlock()
	if err := s.login(ctx, n); err != nil {
		return nil, err
	}
	return &pb.AuthenticateResponse{Header: &pb.ResponseHeader{}, Token: "token"}, nil
}
