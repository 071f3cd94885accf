package e2e

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// silentServer is a connection to a server that says hello in HTTP/2, and after
// that hears everything and answers nothing. gRPC takes it for a good one: a channel
// with 20,000 of them is real but for its servers, and these cost it nothing.
type silentServer struct {
	hello  []byte
	closed chan struct{}
	once   sync.Once
}

// emptySettings is the frame that an HTTP/2 server begins with.
var emptySettings = []byte{0, 0, 0, 4, 0, 0, 0, 0, 0}

func dialSilentServer(context.Context, string) (net.Conn, error) {
	return &silentServer{hello: emptySettings, closed: make(chan struct{})}, nil
}

// Read is called by one goroutine.
func (s *silentServer) Read(p []byte) (int, error) {
	if len(s.hello) > 0 {
		n := copy(p, s.hello)
		s.hello = s.hello[n:]
		return n, nil
	}
	<-s.closed
	return 0, io.EOF
}

func (s *silentServer) Write(p []byte) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
		return len(p), nil
	}
}

func (s *silentServer) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *silentServer) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *silentServer) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *silentServer) SetDeadline(time.Time) error      { return nil }
func (s *silentServer) SetReadDeadline(time.Time) error  { return nil }
func (s *silentServer) SetWriteDeadline(time.Time) error { return nil }
