//go:build !unix

package child

import (
	"errors"
	"fmt"
)

// Suspend stops the child where it stands. It fails here: only Unix can.
func (p *Process) Suspend() error {
	return fmt.Errorf("suspend %s: %w", p.name, errors.ErrUnsupported)
}

// Resume lets a suspended child go on. It fails here: only Unix can.
func (p *Process) Resume() error {
	return fmt.Errorf("resume %s: %w", p.name, errors.ErrUnsupported)
}
