package demo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancers/roundrobin"
	"github.com/steelyard-go/steelyard/balancers/weighted"
)

// policy is one of the policies, with what it promises and how that is checked.
type policy struct {
	name          string
	short         string
	serviceConfig string
	promise       string
	about         string // goes before an expected share that is no exact promise
	// weight is what a server of that weight counts for.
	weight func(weight uint32) float64
	check  func(shares) verdict
}

// shares is how many calls, of a time in which nothing changed, went to each of
// the serving servers.
type shares struct {
	observed []int
	expected []float64
}

// verdict says in figures how near to its promise a policy came, and whether that is near enough.
type verdict struct {
	figure string
	kept   bool
}

// The bounds. They are wide enough that chance alone does not break a promise once in 100,000 runs,
// and narrow enough that a policy that looks at the wrong weights always does.
const (
	edge   = 3 * callers // calls in flight while a window opens and closes may count or not
	leastP = 1e-6
	// The heaviest server weighs at least four times the lightest. This policy looks at speed and
	// calls in flight too, and processes on one machine do get in each other's way.
	p2cTilt = 1.5
	// Of calls spread evenly about 24% would be misplaced. Hashes share out by weight, but do not count.
	hashMisplaced = 0.20
)

var policies = []policy{
	{
		name:          roundrobin.Name,
		short:         "round_robin",
		serviceConfig: roundrobin.Config{}.ServiceConfig(),
		promise:       "every server in turn, whatever its weight",
		weight:        func(uint32) float64 { return 1 },
		check: func(s shares) verdict {
			off := spread(s.observed)
			return verdict{fmt.Sprintf("the most and the least called server differ by %d", off), off <= edge}
		},
	},
	{
		name:          weighted.Name,
		short:         "weighted",
		serviceConfig: weighted.Config{}.ServiceConfig(),
		promise:       "drawn at random, each server as often as its weight says",
		weight:        byWeight,
		check: func(s shares) verdict {
			p := chiSquare(s.observed, s.expected)
			return verdict{fmt.Sprintf("chance alone strays as far in %.3g%% of such draws (chi-square test)", 100*p), p >= leastP}
		},
	},
	{
		name:          p2c.Name,
		short:         "p2c",
		serviceConfig: p2c.Config{}.ServiceConfig(),
		promise:       "two drawn by weight, the better taken: about by weight, less for who is slow or busy",
		about:         "~",
		weight:        byWeight,
		check: func(s shares) verdict {
			got, want := tilt(s.observed, s.expected)
			return verdict{fmt.Sprintf("the heaviest got %.1f times the calls of the lightest, weighing %.0f times as much", got, want), got >= p2cTilt}
		},
	},
	{
		name:          consistenthash.Name,
		short:         "consistent_hash",
		serviceConfig: consistenthash.Config{}.ServiceConfig(),
		promise:       "every key has its server, the same in any process; the keys are shared out about by weight",
		about:         "~",
		weight:        byWeight,
		check: func(s shares) verdict {
			off := misplaced(s.observed, s.expected)
			return verdict{fmt.Sprintf("%.1f%% of the calls went elsewhere than the weights say", 100*off), off <= hashMisplaced}
		},
	},
}

func byWeight(weight uint32) float64 { return float64(weight) }

// choosePolicies finds policies by name or short name; none given are all.
func choosePolicies(names []string) ([]policy, error) {
	if len(names) == 0 {
		return policies, nil
	}
	var chosen []policy
	for _, p := range policies {
		if slices.Contains(names, p.name) || slices.Contains(names, p.short) {
			chosen = append(chosen, p)
		}
	}
	for _, name := range names {
		known := slices.ContainsFunc(policies, func(p policy) bool { return p.name == name || p.short == name })
		if !known {
			return nil, fmt.Errorf("policy: got %q, want one of %s", name, strings.Join(PolicyNames(), ", "))
		}
	}
	return chosen, nil
}

// PolicyNames are the short names of the policies that the demo shows.
func PolicyNames() []string {
	names := make([]string, 0, len(policies))
	for _, p := range policies {
		names = append(names, p.short)
	}
	return names
}

// sharesOf compares what the servers were called in a window with what the
// policy promises for their weights. Names gives the order.
func (p policy) sharesOf(byServer map[string]int, names []string, weights map[string]uint32) (s shares) {
	counted := make([]float64, len(names))
	for i, name := range names {
		s.observed = append(s.observed, byServer[name])
		counted[i] = p.weight(weights[name])
	}
	s.expected = expectedCounts(counted, sum(s.observed))
	return s
}
