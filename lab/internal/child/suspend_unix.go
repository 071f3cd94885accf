//go:build unix

package child

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Suspend stops the child where it stands (SIGSTOP): its connections stay open
// and nothing answers. On Linux it returns when the child has halted, elsewhere
// it may go on for a moment.
func (p *Process) Suspend() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	p.awaitHalt()
	return nil
}

// Resume lets a suspended child go on (SIGCONT).
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s %v: %w", p.name, s, err)
	}
	return nil
}
