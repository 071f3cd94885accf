// Package schedule deals calls out in turn, in exact proportion to weights,
// with each one's calls as evenly apart as the others leave room for.
//
// It is a map from a call's number to who takes it, so that pickers that share
// a counter need no lock, and nothing is laid out in advance, however long it
// takes until the order repeats. Those of equal weight form a group and take
// its calls in turn. The groups are the leaves of a binary tree: of the calls
// that come to a node, numbered from 0, number n goes left if that takes the
// calls gone left from round(n·p) to round((n+1)·p), p being the left side's
// share of the node's weight. That is the line of pixels nearest to a slope of
// p, as evenly spread as whole calls can be. What has gone left of n calls is
// the number of the next one there, so a walk from the root to a leaf costs a
// multiplication a level and needs no other state than the call's number.
//
// How far a count can be off its share: at each node rounding adds less than 1
// between the luckiest and the unluckiest moment, and of what the node itself
// is off, a child inherits its share. Below the root that sums up to
// 1 + w/W1 + w/W2 + …, where w is the leaf's weight and W1, W2, … are those of
// the nodes between it and the root. In a Huffman tree a node's sibling is at
// least as heavy as either of its children, so W1 > w, W2 ≥ 2w, W3 ≥ 3w,
// W4 ≥ 5w, …: the sum stays below that of the reciprocal Fibonacci numbers,
// 3.36, and most leaves reach 2 at most. That holds for any stretch of calls
// at all. For stretches that begin with the schedule the constructor promises
// less, two, by not starting at a moment that is too lucky or unlucky for
// somebody: see [New].
package schedule

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

// Schedule is an endless order of items. It is safe for concurrent use, takes
// no lock and allocates nothing. The zero value is of no use: see [New].
type Schedule[T comparable] struct {
	turn   atomic.Uint64 // number of the next call
	root   int32
	nodes  []node
	groups []group
	dealt  []T // items, group by group

	items   []T // as given, to tell whether another list is the same
	weights []uint64
}

// group is a run of items of equal weight in Schedule.dealt.
type group struct{ first, size uint32 }

// node parts the calls that come to it.
type node struct {
	share uint64   // that goes left, in 2^-64
	side  [2]int32 // right and left: a node's index, or a group's inverted
}

// New returns a schedule for items with weights, of which there are as many,
// at least one and at most 2^31. Each weight must be positive, and their sum
// less than 2^63. It keeps both slices, which must not change any more.
//
// If last, which may be nil, is a schedule of the same items and weights, New
// returns last: it goes on where it is. A new schedule starts at a random
// place of the order, lest a list that changes every few calls favours the
// first of it. Only places are taken from which no count comes to be off its
// share by more than two calls, over any stretch that begins with the schedule.
// For most lists that is nearly every place; of the lists tried the worst had a
// third refused. The first call goes to each with the probability that is its
// share, but for what the refused places make of it: about half more at most.
//
// When calls overlap, those that have got their item so far are the first ones
// of the order, whatever order they return in. A count of those that have
// returned can miss the ones still on their way: k concurrent callers see at
// most k-1 calls more of deviation.
func New[T comparable](last *Schedule[T], items []T, weights []uint64) *Schedule[T] {
	if last != nil && slices.Equal(last.weights, weights) && slices.Equal(last.items, items) {
		return last
	}
	return start(items, weights, rand.Uint64N)
}

// starts is how many random places New tries before it falls back on the
// beginning of the order, which is always good: there every node is halfway
// between the luckiest and the unluckiest moment.
const starts = 64

// start is New with the randomness as an argument: a number below n.
func start[T comparable](items []T, weights []uint64, below func(n uint64) uint64) *Schedule[T] {
	s := &Schedule[T]{items: items, weights: weights}
	s.plant(s.gather())
	var total uint64
	for _, w := range weights {
		total += w
	}
	for range starts {
		if place := below(total); s.bounded(s.root, place, 0, 0) {
			s.turn.Store(place)
			break
		}
	}
	return s
}

// Next returns the item whose turn it is.
func (s *Schedule[T]) Next() T {
	n, at := s.turn.Add(1)-1, s.root
	for at >= 0 {
		at, n = s.nodes[at].next(n)
	}
	g := s.groups[^at]
	return s.dealt[g.first+uint32(n%uint64(g.size))]
}

// Turns returns what Next does where all weights are equal: call number n, which
// comes from counting turn up, goes to item n modulo their number. Go does not
// inline Next, and this can be. It returns nil where weights differ.
func (s *Schedule[T]) Turns() (turn *atomic.Uint64, items []T) {
	if len(s.nodes) > 0 {
		return nil, nil
	}
	return &s.turn, s.dealt
}

// next returns the side to which the node's call number n goes and its number
// there. It is free of branches: no processor could foretell them.
func (nd *node) next(n uint64) (side int32, number uint64) {
	left, phase := nd.before(n)
	_, toLeft := bits.Add64(phase, nd.share, 0)
	right := n - left
	return nd.side[toLeft], right ^ (right^left)&-toLeft
}

// before returns how many of the node's first n calls went left, round(n·p),
// and what rounding took off n·p + 1/2, in 2^-64.
func (nd *node) before(n uint64) (left, phase uint64) {
	high, low := bits.Mul64(n, nd.share)
	phase, carry := bits.Add64(low, 1<<63, 0)
	return high + carry, phase
}

// bounded reports whether no count below at can come to be off its share by
// more than two calls if the order starts with call number n of at. Of the
// calls that go to at, at most ahead too few have been made up to then, for all
// that is known, and at most width-ahead too many: so many more or fewer than
// its share may follow.
func (s *Schedule[T]) bounded(at int32, n uint64, ahead, width float64) bool {
	if at < 0 {
		// Turns within a group of m add (m-1)/m to an m-th of what the group is off.
		limit := float64(s.groups[^at].size) + 1
		return ahead <= limit && width-ahead <= limit
	}
	nd := &s.nodes[at]
	left, phase := nd.before(n)
	share, up := float64(nd.share)*0x1p-64, float64(phase)*0x1p-64
	return s.bounded(nd.side[1], left, ahead*share+up, width*share+1) &&
		s.bounded(nd.side[0], n-left, ahead*(1-share)+1-up, width*(1-share)+1)
}
