//go:build unix

package e2e

import (
	"syscall"
	"time"
)

// scaleCPU returns how long processors have worked for this process.
func scaleCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
