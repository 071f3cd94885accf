package bench

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// chi2P is the probability that chi-square with df degrees of freedom is at
// least x: how often an honest draw looks as bad. It is the upper incomplete
// gamma function Q(df/2, x/2), by its power series below the mean and by its
// continued fraction above (Press and others, Numerical Recipes, 6.2).
func chi2P(df, x float64) float64 {
	if x <= 0 || df <= 0 {
		return 1
	}
	a, z := df/2, x/2
	logGamma, _ := math.Lgamma(a)
	front := math.Exp(a*math.Log(z) - z - logGamma)
	if z < a+1 {
		return 1 - front*gammaSeries(a, z)
	}
	return front * gammaFraction(a, z)
}

// What is summed below comes this close, relative to it, and takes in the
// order of √a terms.
const (
	gammaPrecision = 1e-14
	gammaTerms     = 1_000_000
)

func gammaSeries(a, z float64) float64 {
	term := 1 / a
	sum := term
	for n := 1; n < gammaTerms && term > sum*gammaPrecision; n++ {
		term *= z / (a + float64(n))
		sum += term
	}
	return sum
}

// gammaFraction is evaluated from the top, by the method of Lentz. Beyond the
// mean no denominator is 0.
func gammaFraction(a, z float64) float64 {
	denominator := z + 1 - a
	c, d := math.Inf(1), 1/denominator
	value := d
	for n := 1.0; n < gammaTerms; n++ {
		numerator := -n * (n - a)
		denominator += 2
		d = 1 / (numerator*d + denominator)
		c = denominator + numerator/c
		value *= c * d
		if math.Abs(c*d-1) < gammaPrecision {
			break
		}
	}
	return value
}

// median returns the middle one of values, the mean of the two of an even
// number, and NaN of none.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}

// durations counts how often what was measured took how long, to one part in
// sixteen, without allocating. The zero durations are empty. One goroutine at
// a time may add.
type durations struct {
	counts  [64 * parts]uint64
	longest time.Duration
}

const (
	partBits = 4
	parts    = 1 << partBits
)

// bucket numbers the durations: those below 16 ns each for itself, then sixteen
// for each power of two.
func bucket(ns uint64) int {
	power := bits.Len64(ns)
	if power <= partBits {
		return int(ns)
	}
	shift := power - partBits - 1
	return (shift+1)<<partBits + int(ns>>shift)&(parts-1)
}

// ceiling is the longest duration, in ns, of a bucket.
func ceiling(bucket int) uint64 {
	if bucket < parts {
		return uint64(bucket)
	}
	shift := bucket>>partBits - 1
	return (parts+uint64(bucket)&(parts-1)+1)<<shift - 1
}

func (d *durations) add(took time.Duration) {
	d.counts[bucket(uint64(max(took, 0)))]++
	d.longest = max(d.longest, took)
}

func (d *durations) merge(o *durations) {
	for i, n := range o.counts {
		d.counts[i] += n
	}
	d.longest = max(d.longest, o.longest)
}

// quantile returns what the share q of all durations did not exceed, rounded
// up to the end of a bucket, and 0 of none.
func (d *durations) quantile(q float64) time.Duration {
	var total uint64
	for _, n := range d.counts {
		total += n
	}
	rank, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
	for i, n := range d.counts {
		if seen += n; seen >= rank && n > 0 {
			return min(time.Duration(ceiling(i)), d.longest)
		}
	}
	return 0
}
