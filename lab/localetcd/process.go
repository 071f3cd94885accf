package localetcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/lab/internal/child"
)

const (
	childName   = "localetcd"
	stopTimeout = 8 * time.Second
)

// RunIfChild runs etcd and exits if this process was started by [NewProcess] or
// [StartProcess]; otherwise it returns at once. Call it first thing in main or TestMain.
func RunIfChild() {
	child.RunIf(childName, func(ctx context.Context, env *child.Env) error {
		m, err := decodeMember(env.Config)
		if err != nil {
			return err
		}
		e, err := startEtcd(m)
		if err != nil {
			return err
		}
		env.Ready(m.Client)
		select {
		case <-ctx.Done():
			e.close()
			return nil
		case err := <-e.Err():
			return err
		}
	})
}

// Process is an etcd in a child process. It never outlives the process that
// started it, however that ends. Its methods are safe for concurrent use.
type Process struct {
	member member
	client *clientv3.Client
	remove func() error

	mu    sync.Mutex
	child *child.Process
}

// StartProcess gives a test an etcd in a process of its own, which ends with the test.
func StartProcess(tb testing.TB, opts ...Option) *Process {
	tb.Helper()
	p, err := NewProcess(append([]Option{WithDir(tb.TempDir())}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("localetcd: close: %v", err)
		}
	})
	return p
}

// NewProcess starts an etcd in a child process and returns when it serves. The
// program calls [RunIfChild] first thing in main. Close ends the process.
func NewProcess(opts ...Option) (*Process, error) {
	dir, remove, err := dataDir(opts)
	if err != nil {
		return nil, err
	}
	p := &Process{member: member{Dir: dir}, remove: remove}
	if err := p.claimPorts(); err != nil {
		return nil, errors.Join(err, remove())
	}
	if p.client, err = newClient(p.member.Client); err != nil {
		return nil, errors.Join(err, p.Stop(), remove())
	}
	return p, nil
}

// claimPorts starts the child on ports it can keep. Between the look at a port
// and the child's use of it another process may come first: then others are tried.
func (p *Process) claimPorts() (err error) {
	for range 3 {
		p.member.Client, p.member.Peer = keepablePort(), keepablePort()
		if err = p.Restart(); err == nil || (listenable(p.member.Client) && listenable(p.member.Peer)) {
			return err
		}
	}
	return err
}

// keepablePort gives a free address below the ports that systems hand out to
// outgoing connections (32768 on Linux). One of those could sit on the port while
// etcd is down, or even, dialing itself, pass for the server.
func keepablePort() string {
	var addr string
	for range 100 {
		addr = fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if listenable(addr) {
			break
		}
	}
	return addr
}

// Restart starts the process again on its data and the same ports, killing it
// first if it runs. It returns when etcd serves.
func (p *Process) Restart() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child != nil {
		if err := p.child.Kill(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := child.Start(ctx, childName, p.member)
	if err != nil {
		return err
	}
	p.child = c
	return nil
}

// Kill ends the process at once (SIGKILL). Its data stays for [Process.Restart].
func (p *Process) Kill() error { return p.do((*child.Process).Kill) }

// Suspend stops the process where it stands (SIGSTOP): connections stay open and
// nothing answers. Only on Unix.
func (p *Process) Suspend() error { return p.do((*child.Process).Suspend) }

// Resume lets a suspended process go on (SIGCONT).
func (p *Process) Resume() error { return p.do((*child.Process).Resume) }

// Stop ends the process in good order. Its data stays for [Process.Restart].
func (p *Process) Stop() error {
	return p.do(func(c *child.Process) error { return c.Stop(stopTimeout) })
}

// do acts on the child, if there has been one.
func (p *Process) do(act func(*child.Process) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return nil
	}
	return act(p.child)
}

// Addr is the host:port for clients; it stays the same across restarts.
func (p *Process) Addr() string { return p.member.Client }

// Dir is where the data is. It may be replaced while the process is down.
func (p *Process) Dir() string { return p.member.Dir }

// Pid is the process id; a restart changes it.
func (p *Process) Pid() (pid int) {
	_ = p.do(func(c *child.Process) error { pid = c.Pid(); return nil })
	return pid
}

// Client is a client that all users of the process share. It outlives kills and
// restarts; Close closes it.
func (p *Process) Client() *clientv3.Client { return p.client }

// Close ends the process and its client, and removes the data unless [WithDir]
// was given. It is called once.
func (p *Process) Close() error {
	return errors.Join(p.client.Close(), p.Stop(), p.remove())
}
