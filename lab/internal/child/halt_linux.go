package child

import (
	"syscall"
	"time"
	"unsafe"
)

// From the kernel's linux/wait.h; package syscall has them in part only.
const (
	waitPID     = 1
	waitNoHang  = 1
	waitStopped = 2
	waitExited  = 4
	waitNoReap  = 1 << 24
)

// awaitHalt returns when the last thread of the child has stopped, or the child
// is gone; after a second at the latest, should somebody have resumed it meanwhile.
func (p *Process) awaitHalt() {
	for range 1000 {
		var info [16]uint64 // siginfo_t; it begins with the signal, 0 for none
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, waitPID, uintptr(p.Pid()),
			uintptr(unsafe.Pointer(&info)), waitNoHang|waitStopped|waitExited|waitNoReap, 0, 0)
		if info[0] != 0 || errno == syscall.ECHILD {
			return
		}
		<-time.After(time.Millisecond)
	}
}
