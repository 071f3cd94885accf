//go:build unix

package localetcd_test

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// soon is long enough for a piece of data to arrive, if it does at all.
const soon = 150 * time.Millisecond

// startEcho gives the address of a server that says everything back, until the
// client has ended: then it says bye and ends.
func startEcho(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := io.Copy(conn, conn); err == nil {
					_, _ = io.WriteString(conn, "bye")
				}
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
}

func requireHears(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	got := make([]byte, len(text))
	_, err := io.ReadFull(conn, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

func requireSilence(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(soon)))
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func requireReset(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// requireResets checks a new connection, which may be reset before it is made.
func requireResets(t *testing.T, addr string) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		require.ErrorIs(t, err, syscall.ECONNRESET)
		return
	}
	defer conn.Close()
	requireReset(t, conn)
}

func TestProxy_PassesBothWaysAndTheEnd(t *testing.T) {
	p := localetcd.StartProxy(t, startEcho(t))
	conn := dial(t, p.Addr())
	say(t, conn, "scale")
	requireHears(t, conn, "scale")
	require.NoError(t, conn.CloseWrite())
	requireHears(t, conn, "bye")
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestProxy_CutResetsAllUntilMended(t *testing.T) {
	p := localetcd.StartProxy(t, startEcho(t))
	old := dial(t, p.Addr())
	say(t, old, "scale")
	requireHears(t, old, "scale")
	p.Cut()
	requireReset(t, old)
	requireResets(t, p.Addr())

	p.Mend()
	conn := dial(t, p.Addr())
	say(t, conn, "again")
	requireHears(t, conn, "again")
}

func TestProxy_BlackholeHoldsAllUntilMended(t *testing.T) {
	p := localetcd.StartProxy(t, startEcho(t))
	old := dial(t, p.Addr())
	say(t, old, "scale")
	requireHears(t, old, "scale")
	p.Blackhole()
	fresh := dial(t, p.Addr())
	for _, conn := range []*net.TCPConn{old, fresh} {
		say(t, conn, "held")
		require.NoError(t, conn.CloseWrite())
		requireSilence(t, conn)
	}
	p.Mend()
	for _, conn := range []*net.TCPConn{old, fresh} {
		requireHears(t, conn, "heldbye")
	}
}

func TestProxy_BlackholeHidesTheDeathOfTheTarget(t *testing.T) {
	process := localetcd.StartProcess(t)
	p := localetcd.StartProxy(t, process.Addr())
	conn := dial(t, p.Addr())
	say(t, conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	requireHears(t, conn, "\x00") // its settings begin
	p.Blackhole()
	require.NoError(t, process.Kill())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(soon)))
	_, err := io.Copy(io.Discard, conn)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	p.Mend()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	_, err = io.Copy(io.Discard, conn)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestProxy_CutAndBlackholeFollowEachOther(t *testing.T) {
	p := localetcd.StartProxy(t, startEcho(t))
	p.Cut()
	p.Blackhole()
	conn := dial(t, p.Addr())
	say(t, conn, "held")
	requireSilence(t, conn)
	p.Cut()
	requireReset(t, conn)
}

func TestProxy_DelayHoldsEachWay(t *testing.T) {
	const delay = 100 * time.Millisecond
	p := localetcd.StartProxy(t, startEcho(t))
	conn := dial(t, p.Addr())
	p.Delay(delay)
	begin := time.Now()
	say(t, conn, "scale")
	requireHears(t, conn, "scale")
	require.GreaterOrEqual(t, time.Since(begin), 2*delay)

	p.Delay(time.Hour)
	say(t, conn, "never")
	requireSilence(t, conn)
	require.NoError(t, p.Close())
	requireReset(t, conn)
}

func TestProxy_TargetThatIsDownIsAReset(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	p := localetcd.StartProxy(t, l.Addr().String())
	requireResets(t, p.Addr())
}

func TestProxy_CloseEndsEvenABlackhole(t *testing.T) {
	p, err := localetcd.NewProxy(startEcho(t))
	require.NoError(t, err)
	conn := dial(t, p.Addr())
	p.Blackhole()
	say(t, conn, "held")
	require.NoError(t, p.Close())
	requireReset(t, conn)
	_, err = new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	p.Mend()
	p.Cut()
	require.NoError(t, p.Close())
}

func TestProxy_EtcdClientComesBack(t *testing.T) {
	server := localetcd.Start(t)
	p := localetcd.StartProxy(t, server.Addr())
	client := connect(t, clientv3.Config{Endpoints: []string{p.Addr()}})
	requirePut(t, client, "scale", "1")
	for _, fail := range []func(){p.Cut, p.Blackhole} {
		fail()
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		_, err := client.Get(ctx, "scale")
		cancel()
		require.Error(t, err)
		p.Mend()
		requireValue(t, client, "scale", "1")
	}
}
