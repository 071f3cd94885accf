package localetcd

import (
	"context"
	"errors"
	"fmt"
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
		defer e.close()
		env.Ready(m.Client)
		for {
			select {
			case <-ctx.Done():
				return nil
			case err := <-e.Err():
				return err
			case c, ok := <-env.Commands:
				if !ok {
					return nil
				}
				c.Answer(e.do(c.Text))
			}
		}
	})
}

// Process is an etcd in a child process. It never outlives the process that
// started it, however that ends. Its methods are safe for concurrent use.
type Process struct {
	member member
	ca     *CA
	client *clientv3.Client
	remove func() error // nil where the cluster removes the data

	mu       sync.Mutex
	child    *child.Process
	isolated *child.Process // the child that [Cluster.Isolate] cut off
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
	o, remove, err := collect(opts)
	if err != nil {
		return nil, err
	}
	processes, err := launch(o.ca, func() []member { return []member{o.member()} })
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	processes[0].remove = remove
	return processes[0], nil
}

// Restart starts the process again on its data and the same ports, killing it
// first if it runs. It returns when etcd serves; a member of a cluster does with a
// majority only, see [Cluster.Restart].
func (p *Process) Restart() error { return p.relaunch(func() error { return nil }) }

// relaunch restarts the process and changes something while it is down.
func (p *Process) relaunch(change func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child != nil {
		if err := p.child.Kill(); err != nil {
			return err
		}
	}
	if err := errors.Join(change(), p.ca.writeServer(p.member.Dir)); err != nil {
		return fmt.Errorf("localetcd: restart: %w", err)
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
// nothing answers. Only on Unix; on Linux it has halted when Suspend returns.
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

// Close kills the process, closes its client, and removes the data unless
// [WithDir] was given. It is an error if the process had ended by itself. Close is
// called once, and not for a member of a [Cluster], which closes them itself.
func (p *Process) Close() error {
	err := errors.Join(p.client.Close(), p.do(end))
	if p.remove != nil {
		err = errors.Join(err, p.remove())
	}
	return err
}

// end kills the child, or says what it died of.
func end(c *child.Process) error {
	select {
	case <-c.Exited():
		return c.Stop(stopTimeout)
	default:
		return c.Kill()
	}
}
