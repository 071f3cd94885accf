//go:build unix && !linux

package child

// awaitHalt does nothing here: the child halts a moment later.
func (p *Process) awaitHalt() {}
