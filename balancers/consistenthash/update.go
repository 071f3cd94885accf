package consistenthash

import "context"

// update holds the auction for a list once more, but spares itself what the table
// of a former list tells: which bids were taken, and with them nearly all that
// mattered. The others matter now only if
//
//   - they are a newcomer's, and before the last one that is known for their slot,
//   - or their slot is still not decided after that one: then the next bid for it
//     is looked for among those of all members,
//   - or their member had no room any more, but has now: then it goes on bidding.
//
// The other saving is order. A member with ample room takes what it bids for in
// any order. So what was taken is presumed to be so again, all at once, up to
// where a member's room was short; where an earlier bid comes for a slot that is
// undone, and those bids are dealt with in their turn. Room may turn out to be
// short sooner, or too many bids may have to be looked for: then the update is off,
// and the table is built from the beginning.
type update struct {
	*auction // its bidders make the bids that are not known: their rank is the next one's, or the number of slots if there are none
	former   *membership
	were     []bidder // the former list's, with their index in this one, or nobody's for those who left
	came     []uint32
	end      uint64 // when the former auction was over
	calendar calendar
	last     bid   // that was dealt with
	margin   int64 // the room that is ample
	budget   int   // of bids to look at; the update is off when it is used up
}

// What is to follow a bid is told by upper bits of its slot.
const (
	nextForSlot  = 1 << 31 // the next one for the slot, if that wants one
	nextOfMember = 1 << 30 // the next one of the member, if that has room
)

// updated returns the table of members as newTable does, but sooner if former,
// which may be nil, is nearly the same list.
func updated(ctx context.Context, former *membership, members []member) *table {
	if former != nil {
		if t := heldAgain(ctx, former, members); t != nil {
			return t
		}
	}
	return newTable(ctx, members)
}

// heldAgain returns nil if the update is off or ctx ends.
func heldAgain(ctx context.Context, former *membership, members []member) *table {
	if divisorOf(former.members) != divisorOf(members) {
		return nil // all bids come at other times
	}
	u := newUpdate(former, members)
	u.run(ctx)
	if u.off() || ctx.Err() != nil {
		return nil
	}
	return u.table()
}

// newUpdate tells who stayed, left and came. A member of another weight is
// another one: it makes its bids at other times. One in twenty may change, of whom
// those who left must not cost more than a build.
func newUpdate(former *membership, members []member) *update {
	u := &update{auction: newAuction(members), former: former, were: make([]bidder, len(former.members)), budget: 8 * slots}
	u.margin = int64(2*unit + slots*unit/32/len(former.members)) // for more slots than a member gets, as a rule, when another one leaves
	for i, j := range former.common(&membership{members: members}) {
		if former.members[i].weight == members[j].weight {
			u.were[i] = u.bidders[j]
			u.bidders[j].rank = slots
		}
	}
	divisor, left := divisorOf(members), 0
	for i, m := range former.members {
		if u.were[i].weight == 0 {
			u.were[i] = newBidder(nobody, m.weight/divisor, m.addr)
			left++
		}
	}
	for j := range u.bidders {
		if u.bidders[j].rank == 0 {
			u.came = append(u.came, uint32(j))
		}
	}
	if left > 3 || 20*(left+len(u.came)) > len(members) {
		u.budget = -1
	}
	return u
}

func (u *update) off() bool { return u.budget < 0 }

// run deals with all bids that may matter, unless ctx ends.
func (u *update) run(ctx context.Context) {
	if u.off() {
		return
	}
	u.measure()
	u.presume(u.invite())
	for m := range u.bidders {
		if u.room[m] < unit {
			u.budget = -1
		}
		u.bidAgain(uint32(m))
	}
	for ctx.Err() == nil && u.calendar.turn() {
		for b, ok := u.calendar.next(); ok && !u.off(); b, ok = u.calendar.next() {
			u.deal(b)
		}
	}
}

// addLast adds the last bid that is known for a slot.
func (u *update) addLast(b *bidder, slot uint32) {
	last := b.bidFor(slot)
	last.slot |= nextForSlot
	u.calendar.add(last)
}

// deal deals with a bid, which may come twice, and adds what is to follow.
func (u *update) deal(b bid) {
	follows := b.slot
	b.slot %= slots
	if b.member != nobody && (b.time != u.last.time || b.member != u.last.member) {
		if follows&nextOfMember != 0 {
			u.undo(b)
		}
		u.take(b)
		if bidder := &u.bidders[b.member]; u.room[b.member] < unit && bidder.rankOf(b.slot) < bidder.ample {
			u.budget = -1
		}
		u.last = b
	}
	if follows&nextForSlot != 0 && u.wants(b.slot) != 0 {
		u.search(b)
	}
	if follows&nextOfMember != 0 {
		u.bidAgain(b.member)
	}
}

// bidAgain adds the next bid of a member that may matter. After the end they are
// found by their slots.
func (u *update) bidAgain(m uint32) {
	for b := &u.bidders[m]; b.rank < slots && u.room[m] > 0 && !u.off(); u.budget-- {
		next := b.next()
		if next.time > u.end {
			return
		}
		if u.mayMatter(next) {
			next.slot |= nextOfMember
			u.calendar.add(next)
			return
		}
	}
}

// search adds the next bid for a slot after one, by a member that has room.
func (u *update) search(after bid) {
	u.budget -= len(u.bidders)
	found := bid{time: ^uint64(0), member: nobody}
	for m := range u.bidders {
		bidder := &u.bidders[m]
		if u.room[m] <= 0 || bidder.notBefore(bidder.rankOf(after.slot)) >= found.time {
			continue
		}
		if b := bidder.bidFor(after.slot); after.before(b) && b.time < found.time {
			found = b
		}
	}
	if found.member != nobody {
		u.addLast(&u.bidders[found.member], found.slot)
	}
}
