package localetcd

import (
	"errors"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Server is an etcd in this process. Its methods are safe for concurrent use.
type Server struct {
	etcd   *etcd
	client *clientv3.Client
	addr   string
	remove func() error
}

// Start gives a test an etcd of its own, which ends with the test.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s, err := New(append([]Option{WithDir(tb.TempDir())}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("localetcd: close: %v", err)
		}
	})
	return s
}

// New starts an etcd on free ports and returns when it serves. Close ends it.
func New(opts ...Option) (*Server, error) {
	o, remove, err := collect(opts)
	if err != nil {
		return nil, err
	}
	m := o.member()
	m.Client, m.Peer = anyPort, anyPort
	if err := o.ca.writeServer(m.Dir); err != nil {
		return nil, errors.Join(err, remove())
	}
	e, err := startEtcd(m)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	s := &Server{etcd: e, addr: e.Clients[0].Addr().String(), remove: remove}
	if s.client, err = newClient(o.ca, s.addr); err != nil {
		e.close()
		return nil, errors.Join(err, remove())
	}
	return s, nil
}

// anyPort has the system choose a port. The lone member of a cluster may
// advertise it: nobody asks.
const anyPort = "127.0.0.1:0"

// Addr is the host:port for clients.
func (s *Server) Addr() string { return s.addr }

// Client is a client that all users of the server share; Close closes it.
func (s *Server) Client() *clientv3.Client { return s.client }

// Close ends the server, its client, and every connection to it, and removes
// its data unless [WithDir] was given. It is called once.
func (s *Server) Close() error {
	err := s.client.Close()
	s.etcd.close()
	return errors.Join(err, s.remove())
}
