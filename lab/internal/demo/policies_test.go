package demo

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var testWeights = map[string]uint32{"a": 1, "b": 2, "c": 4}

func checkOf(t *testing.T, short string, a, b, c int) verdict {
	t.Helper()
	chosen, err := choosePolicies([]string{short})
	require.NoError(t, err)
	require.Len(t, chosen, 1)
	answered := map[string]int{"a": a, "b": b, "c": c, "gone": 5}
	s := chosen[0].sharesOf(answered, []string{"a", "b", "c"}, testWeights)
	require.Equal(t, []int{a, b, c}, s.observed)
	return chosen[0].check(s)
}

func TestPolicies_CheckKnowsKeptFromBroken(t *testing.T) {
	for _, tc := range []struct {
		name, policy string
		a, b, c      int
		kept         bool
	}{
		{"even", "round_robin", 1000, 1001, 1000, true},
		{"calls in flight at the edges", "round_robin", 1000, 1000 + edge, 1000, true},
		{"uneven", "round_robin", 1000, 1001 + edge, 1000, false},
		{"by weight", "weighted", 1010, 1995, 3995, true},
		{"a fifth off", "weighted", 1200, 2000, 3800, false},
		{"even although weights differ", "weighted", 2333, 2333, 2334, false},
		{"nothing for one", "weighted", 0, 3000, 4000, false},
		{"a bit flatter than the weights", "p2c", 1500, 2200, 3300, true},
		{"even although weights differ", "p2c", 2333, 2333, 2334, false},
		{"nothing for the heaviest", "p2c", 3000, 4000, 0, false},
		{"keys spread a bit unevenly", "consistent_hash", 1200, 1700, 4100, true},
		{"even although weights differ", "consistent_hash", 2333, 2333, 2334, false},
		{"nothing for one", "consistent_hash", 1300, 0, 5700, false},
	} {
		t.Run(tc.policy+"/"+tc.name, func(t *testing.T) {
			v := checkOf(t, tc.policy, tc.a, tc.b, tc.c)
			require.Equal(t, tc.kept, v.kept, v.figure)
		})
	}
}

func TestChoosePolicies(t *testing.T) {
	all, err := choosePolicies(nil)
	require.NoError(t, err)
	require.Len(t, all, 4)

	two, err := choosePolicies([]string{"steelyard_p2c", "weighted"})
	require.NoError(t, err)
	require.Len(t, two, 2)

	_, err = choosePolicies([]string{"p2c", "p3c"})
	require.EqualError(t, err, `policy: got "p3c", want one of round_robin, weighted, p2c, consistent_hash`)
}

func TestDrawKeys_AreDifferentAndTheSeedsOwn(t *testing.T) {
	keys := drawKeys(1, 1000)
	seen := map[string]bool{}
	for _, k := range keys {
		seen[k] = true
	}
	require.Len(t, seen, 1000)
	require.Equal(t, keys, drawKeys(1, 1000))
	require.NotEqual(t, keys, drawKeys(2, 1000))
}

func TestConclude_NamesEveryBrokenPromise(t *testing.T) {
	d := &demo{page: page{out: io.Discard}}
	require.NoError(t, d.conclude(time.Second))
	d.breaks("step 1: 3 calls failed")
	d.breaks("step 4: %d connections", 2)
	require.EqualError(t, d.conclude(time.Second), "not as promised:\n  step 1: 3 calls failed\n  step 4: 2 connections")
}
