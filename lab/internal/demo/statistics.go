package demo

import (
	"math"
	"slices"
)

// chiSquare compares counts with what was expected of them and returns the
// probability that chance alone strays as far (Pearson's test). Every
// expectation must be above zero; below about 5 the result is rough.
func chiSquare(observed []int, expected []float64) float64 {
	var x float64
	for i, want := range expected {
		d := float64(observed[i]) - want
		x += d * d / want
	}
	return chiSquareTail(x, len(expected)-1)
}

// chiSquareTail is the probability that a chi-square variable with that many
// degrees of freedom exceeds x: the regularized upper incomplete gamma function
// Q(freedom/2, x/2), by its recurrence Q(a+1,x) = Q(a,x) + xᵃe⁻ˣ/Γ(a+1).
func chiSquareTail(x float64, freedom int) float64 {
	if freedom <= 0 || x <= 0 {
		return 1
	}
	x /= 2
	a, q := 1.0, math.Exp(-x)
	if freedom%2 == 1 {
		a, q = 0.5, math.Erfc(math.Sqrt(x))
	}
	for ; a < float64(freedom)/2; a++ {
		gamma, _ := math.Lgamma(a + 1)
		q += math.Exp(a*math.Log(x) - x - gamma)
	}
	return min(q, 1)
}

// spread is the difference between the largest and the smallest count.
func spread(counts []int) int {
	least, most := math.MaxInt, 0
	for _, n := range counts {
		least, most = min(least, n), max(most, n)
	}
	return most - least
}

// misplaced is the share of the calls that went elsewhere than was expected
// (the total variation distance).
func misplaced(observed []int, expected []float64) float64 {
	var apart float64
	for i, want := range expected {
		apart += math.Abs(float64(observed[i]) - want)
	}
	return apart / 2 / float64(max(1, sum(observed)))
}

// tilt is how many times the calls of the servers that were to get least went
// to those that were to get most, per server, and how many times it was to be.
func tilt(observed []int, expected []float64) (got, want float64) {
	least, most := slices.Min(expected), slices.Max(expected)
	perServer := func(share float64) float64 {
		var calls, servers float64
		for i, e := range expected {
			if e == share {
				calls, servers = calls+float64(observed[i]), servers+1
			}
		}
		return calls / servers
	}
	return perServer(most) / max(1, perServer(least)), most / least
}

func sum(counts []int) (total int) {
	for _, n := range counts {
		total += n
	}
	return total
}

// expectedCounts divides the total in proportion to the weights.
func expectedCounts(weights []float64, total int) []float64 {
	var whole float64
	for _, w := range weights {
		whole += w
	}
	expected := make([]float64, len(weights))
	for i, w := range weights {
		expected[i] = float64(total) * w / whole
	}
	return expected
}
