//go:build unix

package child

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Suspend stops the child where it stands (SIGSTOP): its connections stay open
// and nothing answers. It returns when the signal is sent; the child halts a
// moment later.
func (p *Process) Suspend() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a suspended child go on (SIGCONT).
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s %v: %w", p.name, s, err)
	}
	return nil
}
