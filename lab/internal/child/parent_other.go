//go:build !linux

package child

import "syscall"

// dieWithParent has nothing to add where the kernel cannot help: the child
// sees its standard input end.
func dieWithParent() *syscall.SysProcAttr { return nil }
