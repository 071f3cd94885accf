package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestBaseline plays every fault against etcd's own resolver, whose failures are
// written down and fail nothing, then against ours, and logs the table that stands in
// RESULTS.md.
func TestBaseline(t *testing.T) {
	if !*baseline {
		t.Skip("only with -args -baseline")
	}
	all := faults()
	played := make([]struct{ official, ours outcome }, len(all))
	t.Run("played", func(t *testing.T) {
		for i, f := range all {
			if f.long && !*long {
				continue
			}
			t.Run(f.title(), func(t *testing.T) {
				if !f.alone {
					t.Parallel()
				}
				played[i].official = playBaseline(t, f, official)
				played[i].ours = playBaseline(t, f, ours)
			})
		}
	})
	table := &strings.Builder{}
	for i, f := range all {
		if played[i].official.played {
			fmt.Fprintf(table, "| %d | %s | %v | %v | %v |\n", f.row, f.name, f.limit, played[i].official, played[i].ours)
		}
	}
	t.Logf("\n| row | fault | within | etcd's own | Steelyard |\n|---|---|---|---|---|\n%s", table)
}

// outcome is a report, or that it did not come to one.
type outcome struct {
	report
	played, passed bool
}

func playBaseline(t *testing.T, f fault, under subject) (o outcome) {
	t.Helper()
	o.played = true
	o.passed = t.Run(under.name, func(t *testing.T) { o.report = f.run(t, under) })
	return o
}

// String gives a cell of the table.
func (o outcome) String() string {
	if !o.passed {
		return "failed"
	}
	said := []string{max(o.converged, time.Millisecond).Round(time.Millisecond).String()}
	if o.never {
		said[0] = "never"
	}
	if o.lapses > 0 {
		said = append(said, "wrong meanwhile")
	}
	if o.failed > 0 {
		said = append(said, fmt.Sprintf("%d of %d calls failed", o.failed, o.calls))
	}
	return strings.Join(said, ", ")
}
