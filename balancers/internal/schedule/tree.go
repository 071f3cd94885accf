package schedule

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
)

// subtree is a node or a group on its way into the tree.
type subtree struct {
	at     int32
	weight uint64
}

// gather sorts the items into groups of equal weight and returns these, the
// lightest first.
func (s *Schedule[T]) gather() []subtree {
	sizes := make(map[uint64]uint32)
	for _, w := range s.weights {
		sizes[w]++
	}
	next := make(map[uint64]uint32, len(sizes)) // place in dealt, by weight
	leaves := make([]subtree, 0, len(sizes))
	s.groups = make([]group, 0, len(sizes))
	first := uint32(0)
	for _, w := range slices.Sorted(maps.Keys(sizes)) {
		size := sizes[w]
		leaves = append(leaves, subtree{at: ^int32(len(s.groups)), weight: w * uint64(size)})
		s.groups = append(s.groups, group{first: first, size: size})
		next[w] = first
		first += size
	}
	s.dealt = make([]T, len(s.items))
	for i, w := range s.weights {
		s.dealt[next[w]] = s.items[i]
		next[w]++
	}
	slices.SortStableFunc(leaves, func(a, b subtree) int { return cmp.Compare(a.weight, b.weight) })
	return leaves
}

// plant grows the Huffman tree over the leaves, of which the lightest come
// first: time and again the two lightest get a common node (D. A. Huffman
// 1952). The nodes come up in order of weight, so that two queues do for a
// heap (J. van Leeuwen 1976).
func (s *Schedule[T]) plant(leaves []subtree) {
	s.nodes = make([]node, 0, len(leaves)-1)
	grown := make([]subtree, 0, len(leaves)-1)
	lightest := func() subtree {
		from := &leaves
		if len(leaves) == 0 || len(grown) > 0 && grown[0].weight < leaves[0].weight {
			from = &grown
		}
		top := (*from)[0]
		*from = (*from)[1:]
		return top
	}
	for len(leaves)+len(grown) > 1 {
		right, left := lightest(), lightest()
		both := subtree{at: int32(len(s.nodes)), weight: left.weight + right.weight}
		share, _ := bits.Div64(left.weight, 0, both.weight)
		s.nodes = append(s.nodes, node{share: share, side: [2]int32{right.at, left.at}})
		grown = append(grown, both)
	}
	s.root = lightest().at
}
