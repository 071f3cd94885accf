package consistenthash

import (
	"testing/synctest"
	"time"

	"github.com/steelyard-go/steelyard/internal/policytest"
)

// Ages is more than any pause.
const Ages = time.Minute

// Pass lets time pass in a bubble, and all settle.
func Pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// Few returns the first n of the cases under the race detector, and all of them
// otherwise: it makes the building of a table fifteen times slower, and has
// nothing to find where there is one goroutine.
func Few[T any](n int, cases []T) []T {
	if policytest.RaceEnabled {
		return cases[:n]
	}
	return cases
}
