package localetcd

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// pieceSize is how much a link takes at once before it passes that on.
const pieceSize = 32 << 10

// link is one connection of a client and the one to the target that goes with it.
type link struct {
	proxy  *Proxy
	client *net.TCPConn
	ctx    context.Context
	reset  context.CancelFunc // resets both, if they are not closed
}

func newLink(p *Proxy, client net.Conn) *link {
	l := &link{proxy: p}
	l.client, _ = client.(*net.TCPConn) // as "tcp" gives
	l.ctx, l.reset = context.WithCancel(context.Background())
	l.resets(l.client)
	return l
}

// resets has the connection go with the link, whatever it still has to send.
func (l *link) resets(conn *net.TCPConn) {
	context.AfterFunc(l.ctx, func() {
		_ = conn.SetLinger(0)
		_ = conn.Close()
	})
}

// run passes on what comes, each way, until both sides have ended or the link
// is reset.
func (l *link) run() {
	defer l.reset()
	if l.proxy.pass(l.ctx) != nil {
		return
	}
	conn, err := new(net.Dialer).DialContext(l.ctx, "tcp", l.proxy.target)
	if err != nil {
		return
	}
	target, _ := conn.(*net.TCPConn) // as "tcp" gives
	l.resets(target)

	var both sync.WaitGroup
	both.Go(func() { l.copy(target, l.client) })
	both.Go(func() { l.copy(l.client, target) })
	both.Wait()
	if l.ctx.Err() == nil { // what was sent last may still be on its way
		_ = target.Close()
		_ = l.client.Close()
	}
}

// copy passes one way, the end of what comes included; an error resets the link.
func (l *link) copy(to, from *net.TCPConn) {
	piece := make([]byte, pieceSize)
	for {
		n, err := from.Read(piece)
		if l.proxy.pass(l.ctx) != nil {
			return
		}
		if _, writeErr := to.Write(piece[:n]); writeErr != nil {
			l.reset()
			return
		}
		if errors.Is(err, io.EOF) {
			_ = to.CloseWrite()
			return
		}
		if err != nil {
			l.reset()
			return
		}
	}
}
