package child

import "syscall"

// dieWithParent has the kernel kill the child when the thread that started it
// ends. Go keeps its threads for the life of the process, save those of a goroutine
// that ends while locked to one: do not call Start from such a goroutine.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
