package consistenthash

import (
	"math/bits"
	"slices"
)

// auction deals out the slots. The members bid for them (see bidder), and a slot
// goes to the earliest bid of a member that has room: without limits to that,
// this is weighted rendezvous hashing (Thaler and Ravishankar 1998,
// Schindelhauer and Schomaker 2005). With them it is the one stable matching of
// members and slots that both prefer what is earlier, so a member that comes,
// goes or changes its weight moves few slots but its own. The second of those
// bids is the slot's next choice: to whom it would go, as a rule, if its owner
// were not a member.
//
// Slots can be divided, so that limits need no rounding: a member whose room
// ends within a slot takes a part of it, and the next choice has the rest.
//
// Time passes in windows, whose lengths have no bearing on the result.
type auction struct {
	won     [][2]uint32 // of each slot: the owner and the next choice
	limits  []limit     // of each member
	room    []int64     // of each member, in units
	decided []uint64    // a bit for each slot that wants no more bids
	refused []bid       // for want of room for the rest of a slot
	wanted  int         // bids
	bidders []bidder    // those that have room and slots left to bid for
	now     uint64
	window  []bid
	sorter  sorter
}

// nobody owns a slot, and divides none.
const nobody = ^uint32(0)

// newAuction opens the auction. Only the ratios of the weights matter: they are
// reduced to lowest terms.
func newAuction(members []member) *auction {
	a := &auction{
		won:     slices.Repeat([][2]uint32{{nobody, nobody}}, slots),
		limits:  slices.Repeat([]limit{{slot: nobody}}, len(members)),
		room:    make([]int64, len(members)),
		decided: make([]uint64, slots/64),
		wanted:  slots * min(2, len(members)),
		bidders: make([]bidder, len(members)),
	}
	total, divisor := uint64(0), divisorOf(members)
	for _, m := range members {
		total += uint64(m.weight)
	}
	for i, m := range members {
		a.room[i] = roomFor(uint64(m.weight), total, uint64(len(members)))
		a.bidders[i] = newBidder(uint32(i), m.weight/divisor, m.addr)
	}
	return a
}

// divisorOf returns the greatest one that the weights have in common.
func divisorOf(members []member) uint32 {
	divisor := uint32(0)
	for _, m := range members {
		for w := m.weight; w != 0; {
			divisor, w = w, divisor%w
		}
	}
	return divisor
}

// roomFor returns how many units one of so many members may have: 1.05 times its
// share up to 1,000 of them, growing to 1.099 times from there to 1,980. For a share
// of a few slots that becomes whole slots: what is left of each room would be too
// little for what is left of each divided slot, and the auction would hardly end.
func roomFor(weight, total, members uint64) int64 {
	share := slots * unit * weight / total
	spare := share * min(max(members, 1_000), 1_980) / 20_000
	if share < 4*unit {
		return int64((share+spare)/unit+1) * unit
	}
	return int64(share + spare)
}

// over tells that every slot has its choices, or that nobody is left to bid.
func (a *auction) over() bool { return a.wanted == 0 || len(a.bidders) == 0 }

// advance lets the members make the bids of the next window.
func (a *auction) advance() {
	end := a.now + min(a.length(), ^uint64(0)-a.now)
	a.collect(end)
	for _, b := range a.sorter.sort(a.window, a.now, end) {
		a.take(b)
	}
	a.bidders = slices.DeleteFunc(a.bidders, func(b bidder) bool {
		return b.rank == slots || a.room[b.member] <= 0
	})
	a.now = end
}

// length returns how long the next window is to be: such that about as many of
// its bids find their slot undecided as in any other, a few of each member.
func (a *auction) length() uint64 {
	rate := uint64(0) // in bids per 2⁶⁰
	for i := range a.bidders {
		rate += uint64(a.bidders[i].weight) * uint64(slots-a.bidders[i].rank)
	}
	want := uint64(slots/64 + 2*len(a.bidders))
	want *= uint64(min(16, 2*slots/a.wanted))
	if want>>4 >= rate {
		return ^uint64(0)
	}
	length, _ := bits.Div64(want>>4, want<<60, rate)
	return length
}

// collect gathers the bids before end, but for those for decided slots.
func (a *auction) collect(end uint64) {
	n := 0
	a.window = a.window[:cap(a.window)]
	for i := range a.bidders {
		b := &a.bidders[i]
		for b.rank < slots {
			if n == len(a.window) {
				a.window = append(a.window, make([]bid, n+1024)...)
			}
			next := b.next()
			if next.time >= end {
				b.rank--
				break
			}
			a.window[n] = next
			n += int(a.wants(next.slot)) // a branch, half of the time mispredicted, takes longer
		}
	}
	a.window = a.window[:n]
}

// wants returns 1 if another bid for a slot could be taken, and else 0.
func (a *auction) wants(slot uint32) uint64 { return ^(a.decided[slot/64] >> (slot % 64)) & 1 }

// take deals with one bid, in its turn.
func (a *auction) take(b bid) {
	room, won := &a.room[b.member], &a.won[b.slot]
	switch {
	case *room <= 0:
		// Its room ended in this window.
	case won[0] == nobody:
		won[0], won[1] = b.member, b.member
		if *room < unit {
			a.limits[b.member] = limit{slot: b.slot, part: uint32(*room)}
		}
		*room -= unit
		a.wanted--
	case won[1] == won[0]:
		if l := a.limits[won[0]]; l.slot == b.slot {
			rest := int64(unit - l.part)
			if *room < rest {
				a.refused = append(a.refused, b)
				return // one that has room for all of it will come
			}
			*room -= rest
		}
		won[1] = b.member
		a.decided[b.slot/64] |= 1 << (b.slot % 64)
		a.wanted--
	}
}
