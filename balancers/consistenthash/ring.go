package consistenthash

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// pointsPerMember is how many points a member has where all weigh the same. More
// even out the shares and take more memory.
const pointsPerMember = 256

// member is one endpoint as the ring knows it.
type member struct {
	addr   string
	weight uint32
}

// ring is a consistent-hash ring (Karger et al. 1997): each member has points
// in proportion to its weight, and a key belongs to the member of the first
// point at or after its hash. A point's place depends on its member's address
// and its number only, so whoever builds a ring of the same members, in any
// order, on any machine, builds the same one; and a member that goes or
// comes moves no keys but its own, as long as the scale of the weights stays.
//
// It is immutable and safe for concurrent use.
type ring struct {
	points []point // by hash
	// arcs cuts the ring into as many equal arcs as there are points, within a
	// factor of two: arc i has the hashes whose upper bits are i, and its first
	// point is points[arcs[i]]. Hashes are uniform, so an arc has few points.
	arcs  []uint32
	shift int // of a hash, to its arc
}

type point struct {
	hash   uint64
	member uint32
}

// newRing builds the ring of members, which may be none, in linear time.
func newRing(members []member) *ring {
	points := allPoints(members)
	arcBits := bits.Len(uint(len(points)))
	r := &ring{
		points: make([]point, len(points)),
		arcs:   make([]uint32, 1<<arcBits+1),
		shift:  64 - arcBits,
	}
	for _, p := range points {
		r.arcs[p.hash>>r.shift]++
	}
	end := uint32(0)
	for i := range r.arcs { // counts become ends, and ends, one by one, beginnings
		end += r.arcs[i]
		r.arcs[i] = end
	}
	for _, p := range points {
		arc := p.hash >> r.shift
		r.arcs[arc]--
		r.points[r.arcs[arc]] = p
	}
	for i := range len(r.arcs) - 1 {
		slices.SortFunc(r.points[r.arcs[i]:r.arcs[i+1]], func(a, b point) int {
			return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(members[a.member].addr, members[b.member].addr))
		})
	}
	return r
}

func allPoints(members []member) []point {
	scale := newScale(members)
	points := make([]point, 0, (pointsPerMember+1)*len(members))
	for i, m := range members {
		for n := range scale.points(m.weight) {
			points = append(points, point{hash: pointHash(m.addr, n), member: uint32(i)})
		}
	}
	return points
}

// scale says how many points a weight is worth: pointsPerMember for the weight
// that the average unit of weight belongs to, Σw²/Σw. Unlike the plain mean that
// does not move when members that hardly count come and go, and it does not move
// either when one of many alike does. Where it does move, it does so without
// steps, and so do the points of the other members: in all they move up to about
// as many keys as the member does that changed. Integer arithmetic only: all
// machines must agree.
type scale struct {
	sum, squares uint64
}

func newScale(members []member) scale {
	var s scale
	for _, m := range members {
		s.sum += uint64(m.weight)
		s.squares += uint64(m.weight) * uint64(m.weight)
	}
	return s
}

// points returns the number for weight, rounded, at least one.
func (s scale) points(weight uint32) uint64 {
	high, low := bits.Mul64(pointsPerMember*uint64(weight), s.sum)
	low, carry := bits.Add64(low, s.squares/2, 0)
	points, _ := bits.Div64(high+carry, low, s.squares)
	return max(1, points)
}

func pointHash(addr string, n uint64) uint64 {
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], n)
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(addr)
	_, _ = d.Write(number[:])
	return d.Sum64()
}

// choices yields the members of the points from hash on, around the ring once:
// the owner of a key first, then its next choices, some of them repeatedly.
func (r *ring) choices(hash uint64) func(yield func(member uint32) bool) {
	return func(yield func(uint32) bool) {
		start := int(r.arcs[hash>>r.shift])
		for start < len(r.points) && r.points[start].hash < hash {
			start++
		}
		for i := range r.points {
			at := start + i
			if at >= len(r.points) {
				at -= len(r.points)
			}
			if !yield(r.points[at].member) {
				return
			}
		}
	}
}
