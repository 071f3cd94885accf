package consistenthash

// Few returns the first n of the cases under the race detector, and all of them
// otherwise: it makes the building of a table fifteen times slower, and has
// nothing to find where there is one goroutine.
func Few[T any](n int, cases []T) []T {
	if RaceEnabled {
		return cases[:n]
	}
	return cases
}
