//go:build !unix

package e2e

import "time"

// scaleCPU is not measured here.
func scaleCPU() time.Duration { return 0 }
