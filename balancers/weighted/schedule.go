package weighted

import (
	"math"
	"sync/atomic"
)

// A rotation is at most maxRotation calls long, or minTurns for each backend
// if that is more.
const (
	maxRotation = 1 << 16
	minTurns    = 4
)

// schedule is a rotation over backends that repeats for ever. It is safe for
// concurrent use: a counter numbers the calls, and a call's number names its
// backend.
type schedule struct {
	order []uint32
	turn  atomic.Uint64
}

// newSchedule lays out the rotation for weights, of which there is at least
// one and each is positive, and starts it at the given turn.
func newSchedule(weights []uint32, start uint64) *schedule {
	s := &schedule{order: layOut(turnsOf(weights))}
	s.turn.Store(start % uint64(len(s.order)))
	return s
}

// next returns the index of the backend whose turn it is.
func (s *schedule) next() uint32 {
	return s.order[(s.turn.Add(1)-1)%uint64(len(s.order))]
}

// turnsOf returns how often each backend comes in a rotation: its weight, in
// lowest terms, where that makes a rotation of bearable length, else its
// weight rounded to what does, at least one.
func turnsOf(weights []uint32) []uint64 {
	var divisor, total uint64
	for _, w := range weights {
		divisor, total = gcd(divisor, uint64(w)), total+uint64(w)
	}
	turns := make([]uint64, len(weights))
	limit := max(maxRotation, minTurns*uint64(len(weights)))
	exact := total/divisor <= limit
	for i, w := range weights {
		if exact {
			turns[i] = uint64(w) / divisor
		} else {
			turns[i] = max(1, uint64(math.RoundToEven(float64(w)*float64(limit)/float64(total))))
		}
	}
	return turns
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// layOut orders each backend's turns so that its k-th lies within the k-th of
// as many equal parts of the rotation, widened to whole calls. That such an
// order exists, and that taking the earliest deadline first among those whose
// part has begun finds it, is the theory of fair scheduling (Baruah et al.,
// Proportionate Progress, 1996). It keeps every backend's count within one
// call of its share from the start to any call, so within two over any window.
func layOut(turns []uint64) []uint32 {
	var total uint64
	for _, n := range turns {
		total += n
	}
	order := make([]uint32, total)
	begins := make([][]job, total) // by the call at which a job's part begins
	for i := range turns {
		begins[0] = append(begins[0], job{backend: uint32(i), deadline: ceilDiv(total, turns[i])})
	}
	var ready jobs
	for call := range total {
		for _, j := range begins[call] {
			ready.push(j)
		}
		begins[call] = nil
		j := ready.pop()
		order[call] = j.backend
		n := turns[j.backend]
		j.done++
		if j.done == n {
			continue
		}
		begin := max(j.done*total/n, call+1)
		j.deadline = ceilDiv((j.done+1)*total, n)
		begins[begin] = append(begins[begin], j)
	}
	return order
}

func ceilDiv(a, b uint64) uint64 { return (a + b - 1) / b }
