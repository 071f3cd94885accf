package e2e

import (
	"slices"
	"testing"
)

// faults are the rows, in the contract's order. What the registrar itself does has tests of
// its own.
func faults() []fault {
	all := slices.Concat(peaceFaults, cutFaults, downFaults, authFaults, guardFaults, crowdFaults, lagFaults, registeredFaults, clusterFaults, mixFaults)
	slices.SortStableFunc(all, func(a, b fault) int { return a.row - b.row })
	return all
}

func TestFaults(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.title(), func(t *testing.T) {
			if f.long && !*long {
				t.Skip("only in the long suite: -args -long")
			}
			if !f.alone {
				t.Parallel()
			}
			f.run(t, ours)
		})
	}
}
