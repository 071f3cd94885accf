package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Process is a running child. Its methods are safe for concurrent use.
type Process struct {
	name string
	note string
	cmd  *exec.Cmd
	in   io.WriteCloser
	log  *tail

	doing    sync.Mutex // one command at a time
	messages chan message
	killed   atomic.Bool
	exited   chan struct{}
	waitErr  error // valid once exited is closed
}

// Start executes the running binary as the child called name, hands it config
// as JSON and returns when the child says that it is ready. If the child
// ends before, or ctx does, no process is left behind and the error carries the
// last lines the child wrote to standard error.
func Start(ctx context.Context, name string, config any) (*Process, error) {
	encoded, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("start %s: encode its config: %w", name, err)
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, log: &tail{}, messages: make(chan message, 1), exited: make(chan struct{})}
	// The context bounds the start, not the life of the child.
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), binary, name, string(encoded))
	p.cmd.Env = append(os.Environ(), nameEnv+"="+name)
	p.cmd.SysProcAttr = dieWithParent()
	p.cmd.Stderr = p.log
	if err := p.start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}

	ready, err := p.receive(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("start %s: %w", name, err), p.Kill())
		return nil, err
	}
	p.note = ready.Note
	return p, nil
}

func (p *Process) start() error {
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.in = in
	go p.read(out)
	return nil
}

// read takes the child's messages until it closes its end, then waits for it.
func (p *Process) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			m = message{Error: fmt.Sprintf("%s: not a message: %v", p.name, err)}
		}
		select {
		case p.messages <- m:
		default: // an answer nobody waits for any more
		}
	}
	p.waitErr = p.cmd.Wait()
	close(p.exited)
}

func (p *Process) receive(ctx context.Context) (message, error) {
	select {
	case m := <-p.messages:
		return m, nil
	case <-p.exited:
		return message{}, p.exitError()
	case <-ctx.Done():
		return message{}, context.Cause(ctx)
	}
}

// exitError says how the child ended, with the last it wrote. Valid once exited is closed.
func (p *Process) exitError() error {
	how := "exit status 0"
	if p.waitErr != nil {
		how = p.waitErr.Error()
	}
	if said := p.log.String(); said != "" {
		how += ": " + said
	}
	return fmt.Errorf("%s (pid %d) ended: %s", p.name, p.Pid(), how)
}

// Note is what the child said when it became ready.
func (p *Process) Note() string { return p.note }

// Pid is the child's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Exited is closed when the child has ended and nothing of it is left.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Do sends the child a command, one line, and waits for its answer. An answer
// that comes after ctx has ended would be taken for that of the next command, so
// the child is killed then.
func (p *Process) Do(ctx context.Context, command string) error {
	p.doing.Lock()
	defer p.doing.Unlock()
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		return fmt.Errorf("%s: send %q: %w", p.name, command, err)
	}
	m, err := p.receive(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %q: %w", p.name, command, err), p.Kill())
	}
	if m.Error != "" {
		return fmt.Errorf("%s: %q: %s", p.name, command, m.Error)
	}
	return nil
}

// Kill ends the child at once, with SIGKILL where there are signals, and
// returns when it is gone. Killing a child that has ended does nothing.
func (p *Process) Kill() error {
	p.killed.Store(true)
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.exited
	return nil
}

// Stop asks the child to leave and returns when it is gone. One that is still
// there after the timeout is killed, and the error says so; so does it when the
// child ended with an error. Stopping a child that was killed does nothing.
func (p *Process) Stop(timeout time.Duration) error {
	_ = p.Resume() // a suspended child cannot leave
	_ = p.in.Close()
	select {
	case <-p.exited:
		if p.waitErr != nil && !p.killed.Load() {
			return p.exitError()
		}
		return nil
	case <-time.After(timeout):
		return errors.Join(fmt.Errorf("%s: still running %v after it was asked to end", p.name, timeout), p.Kill())
	}
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

const tailSize = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	t.kept = t.kept[max(0, len(t.kept)-tailSize):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}
