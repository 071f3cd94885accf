package consistenthash

import (
	"math/bits"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// bid is one member's bid for one slot.
type bid struct {
	time   uint64
	member uint32
	slot   uint32
}

// before tells which of two bids comes first. Those of nobody come before those
// of any member at the same time.
func (b bid) before(other bid) bool {
	return b.time < other.time || b.time == other.time && b.member+1 < other.member+1
}

// bidder makes one member's bids in order of time: one for each slot, in an
// order of its own, at times that are exponential with the weight as their rate.
// That is what makes the earliest of several members' bids a fair draw by weight.
type bidder struct { // of 64 bytes: those of thousands are read at random
	times   *[slots + 1]uint64 // see bidTimes
	inverse uint64             // 2⁶⁴/weight
	weight  uint32
	jitter  uint32 // in 2⁻¹⁶ ranks: keeps members of one weight from bidding at once
	member  uint32
	rank    uint32 // of its next bid
	ample   uint32 // see update
	keys    [4]uint32
	undo    [3]uint32 // the inverses of the odd keys, modulo 2³²
}

func newBidder(index, weight uint32, addr string) bidder {
	r := random(xxhash.Sum64String(addr))
	first, second, third := r.next(), r.next(), r.next()
	b := bidder{
		times: bidTimes(), member: index, weight: weight, inverse: ^uint64(0) / uint64(weight), jitter: uint32(third % (1 << 16)),
		keys: [4]uint32{uint32(first), uint32(first>>32) | 1, uint32(second) | 1, uint32(second>>32) | 1},
	}
	for i := range b.undo {
		b.undo[i] = inverseOf(b.keys[i+1])
	}
	return b
}

// inverseOf returns what undoes a multiplication by an odd key: Newton's
// iteration, from three bits that are right to 6, 12, 24.
func inverseOf(odd uint32) uint32 {
	x := odd
	for range 3 {
		x *= 2 - odd*x
	}
	return x
}

// bidTimes returns when a member of weight 1 would make its bids: the r-th
// earliest of S exponential times comes, on average, after 1/S + 1/(S−1) + …
// (Rényi 1953). The unit is 2⁻⁴⁰.
var bidTimes = sync.OnceValue(func() *[slots + 1]uint64 {
	times := new([slots + 1]uint64)
	for r := range uint64(slots) {
		times[r+1] = times[r] + (1<<40)/(slots-r)
	}
	return times
})

// next returns the next bid. There is none once rank is the number of slots.
func (b *bidder) next() bid {
	r := b.rank
	b.rank++
	return bid{time: b.timeOf(r), member: b.member, slot: b.permute(r)}
}

// timeOf returns when it makes the bid of a rank.
func (b *bidder) timeOf(r uint32) uint64 {
	at := b.times[r] + (b.times[r+1]-b.times[r])*uint64(b.jitter)>>16
	time, _ := bits.Mul64(at<<20, b.inverse) // divides by the weight: 2⁻⁶⁰ is the unit
	return time
}

// notBefore returns a time that timeOf is not before, and needs no memory for it:
// the r-th of S exponential times is r/S or more.
func (b *bidder) notBefore(r uint32) uint64 {
	time, _ := bits.Mul64(uint64(r)<<(60-slotBits), b.inverse)
	return time
}

// bidFor returns its bid for a slot.
func (b *bidder) bidFor(slot uint32) bid {
	return bid{time: b.timeOf(b.rankOf(slot)), member: b.member, slot: slot}
}

// rankOf returns the rank of its bid for a slot: it undoes permute.
func (b *bidder) rankOf(slot uint32) uint32 {
	const mask, half = slots - 1, (slotBits + 1) / 2
	x := slot * b.undo[2] & mask
	x ^= x >> half
	x = x * b.undo[1] & mask
	x ^= x >> half
	return (x*b.undo[0] ^ b.keys[0]) & mask
}

// permute maps ranks to slots, one to one: odd multiples and folded halves can
// be undone.
func (b *bidder) permute(x uint32) uint32 {
	const mask, half = slots - 1, (slotBits + 1) / 2
	x = (x ^ b.keys[0]) * b.keys[1] & mask
	x ^= x >> half
	x = x * b.keys[2] & mask
	x ^= x >> half
	return x * b.keys[3] & mask
}

// random is SplitMix64 (Steele, Lea and Flood 2014).
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// sorter sorts bids. It keeps its memory for the next time.
type sorter struct {
	sorted []bid
	ends   []uint32
}

// sort returns bids, whose times are from from to to, in order. The times are
// about evenly spread, so it deals the bids out to as many buckets as there are
// bids and finishes them off by insertion.
func (s *sorter) sort(bids []bid, from, to uint64) []bid {
	width := bits.Len(uint(len(bids)))
	shift := max(0, bits.Len64(to-from)-width)
	s.ends = append(s.ends[:0], make([]uint32, 1<<width+1)...)
	for _, b := range bids {
		s.ends[(b.time-from)>>shift+1]++
	}
	for i := 1; i < len(s.ends); i++ { // counts become the buckets' beginnings, which grow to their ends
		s.ends[i] += s.ends[i-1]
	}
	s.sorted = append(s.sorted[:0], bids...)
	for _, b := range bids {
		end := &s.ends[(b.time-from)>>shift]
		s.sorted[*end] = b
		*end++
	}
	for i, b := range s.sorted {
		for i > 0 && b.before(s.sorted[i-1]) {
			s.sorted[i] = s.sorted[i-1]
			i--
		}
		s.sorted[i] = b
	}
	return s.sorted
}
