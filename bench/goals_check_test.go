package bench

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const run = `goos: linux
BenchmarkA/policy=x/backends=100-2   	  500	  20 ns/op	  3 allocs/op
BenchmarkA/policy=x/backends=100-2   	  500	  10 ns/op	  3 allocs/op
BenchmarkA/policy=x/backends=100-2   	  500	  90 ns/op	  3 allocs/op
BenchmarkA/policy=y/backends=100-16  	  500	  40 ns/op
BenchmarkB
BenchmarkOneProcessor 	       1	1.5e+06 ns/op
PASS
`

func TestReadResults(t *testing.T) {
	rs, err := readResults(strings.NewReader(run))
	require.NoError(t, err)
	require.Equal(t, results{
		"A/policy=x/backends=100 ns/op":     {20, 10, 90},
		"A/policy=x/backends=100 allocs/op": {3, 3, 3},
		"A/policy=y/backends=100 ns/op":     {40},
		"OneProcessor ns/op":                {1.5e6},
	}, rs)
	for _, bad := range []string{"", "PASS\n", "BenchmarkA-2 1 fast ns/op\n"} {
		_, err := readResults(strings.NewReader(bad))
		require.Error(t, err, bad)
	}
}

func TestGoal_Rows(t *testing.T) {
	rs, err := readResults(strings.NewReader(run))
	require.NoError(t, err)
	x, y, gone := line("A/policy=%s/backends=100 ns/op", "x"), line("A/policy=y/backends=100 ns/op"), line("gone")
	for _, tc := range []struct {
		name string
		goal goal
		want []string
	}{
		{"relative", goal{"w", ofStock(0.5), duration, x, y}, []string{"w", "≤ 0.5 × stock", "40 ns", "20 ns", "0.5", "reached"}},
		{"relative, missed", goal{"w", ofStock(0.49), duration, x, y}, []string{"w", "≤ 0.49 × stock", "40 ns", "20 ns", "0.5", "**not reached**"}},
		{"alone", goal{"w", atMost(20), duration, x, nil}, []string{"w", "≤ 20 ns", "–", "20 ns", "–", "reached"}},
		{"alone, missed", goal{"w", atMost(19), number, x, nil}, []string{"w", "≤ 19", "–", "20", "–", "**not reached**"}},
		{"at least", goal{"w", atLeast(20), number, x, nil}, []string{"w", "≥ 20", "–", "20", "–", "reached"}},
		{"at least, missed", goal{"w", atLeast(21), number, x, y}, []string{"w", "≥ 21", "40", "20", "0.5", "**not reached**"}},
		{"no line of ours", goal{"w", atMost(20), number, gone, y}, []string{"w", "≤ 20", "40", "–", "–", "not measured"}},
		{"no line of stock", goal{"w", ofStock(20), number, x, gone}, []string{"w", "≤ 20 × stock", "–", "20", "–", "not measured"}},
		{"no line of stock that is needed", goal{"w", atMost(20), number, x, gone}, []string{"w", "≤ 20", "–", "20", "–", "reached"}},
	} {
		t.Run(tc.name, func(t *testing.T) { require.Equal(t, tc.want, tc.goal.row(rs)) })
	}
	require.EqualValues(t, 0.5, quotient(x, y)(rs))
	require.EqualValues(t, 40, largest(x, y)(rs))
	require.EqualValues(t, 20, smallest(x, y)(rs))
	require.True(t, math.IsNaN(largest(x, gone)(rs)))
	require.True(t, math.IsNaN(smallest(gone, y)(rs)))
}

func TestGoals_UnitsAndAlignment(t *testing.T) {
	for want, ns := range map[string]float64{
		"0.5 ns": 0.5, "999 ns": 999, "1 µs": 1_000, "12.3 ms": 12_345_678, "2 s": 2e9, "20 ms": 20e6, "100 s": 1e11,
	} {
		require.Equal(t, want, duration(ns))
	}
	require.Equal(t, "| µ  | ratio |\n|----|-------|\n| aa | 1     |\n", table([][]string{{"µ", "ratio"}, {"aa", "1"}}))
}
