// Package alias draws indices in proportion to weights, in constant time.
package alias

import "math/bits"

// Table is an alias table: n columns of equal width, each shared by at most
// two indices, so that one random number names a column and a side of it
// (A. J. Walker 1977; built in linear time after M. D. Vose 1991). It is
// immutable and safe for concurrent use. It takes 8 bytes for each index.
type Table struct {
	columns []column
}

type column struct {
	below uint32 // the share of the column that is its own, in 2^-32
	other uint32 // the index that has the rest
}

// New builds the table for weights. There must be at least one weight and at
// most 2^32-1; each must be positive, and less than 2^64 when multiplied with
// their number; so must be their sum. Shares are exact to 2^-32 of a column.
func New[W uint32 | uint64](weights []W) *Table {
	n := uint64(len(weights))
	var total uint64
	for _, w := range weights {
		total += uint64(w)
	}
	// Scaled by n, a column holds exactly total. Some indices have less than a
	// column, some more: each of the first is topped up by one of the second.
	scaled := make([]uint64, n)
	var small, large []uint32
	for i, w := range weights {
		scaled[i] = uint64(w) * n
		if scaled[i] < total {
			small = append(small, uint32(i))
		} else {
			large = append(large, uint32(i))
		}
	}
	t := &Table{columns: make([]column, n)}
	for len(small) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		t.columns[s] = column{below: fraction(scaled[s], total), other: l}
		scaled[l] -= total - scaled[s]
		if scaled[l] < total {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, l := range large { // exactly one column left for each
		t.columns[l] = column{other: l}
	}
	return t
}

// fraction returns part/whole in 2^-32, for part < whole.
func fraction(part, whole uint64) uint32 {
	high, low := bits.Mul64(part, 1<<32)
	quotient, _ := bits.Div64(high, low, whole)
	return uint32(quotient)
}

// Draw returns the index that random, uniform over all 64 bits, falls on: its
// upper half chooses the column, its lower half the side.
func (t *Table) Draw(random uint64) uint32 {
	column, side := (random>>32)*uint64(len(t.columns))>>32, uint32(random)
	if c := &t.columns[column]; side >= c.below {
		return c.other
	}
	return uint32(column)
}

// Draw32 is Draw for half as many random bits. Shares are exact to n×2^-32 of a
// column.
func (t *Table) Draw32(random uint32) uint32 {
	at := uint64(random) * uint64(len(t.columns))
	i, side := uint32(at>>32), uint32(at)
	c := t.columns[i] // whole, so that what follows is a move and no jump: nobody could foresee it
	if side >= c.below {
		i = c.other
	}
	return i
}
