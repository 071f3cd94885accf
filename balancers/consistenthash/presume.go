package consistenthash

// measure finds out up to where each member's room was ample, from where on it
// had none, and when the former auction ended.
func (u *update) measure() {
	t := u.former.table
	for slot := range uint32(slots) {
		owner, next := t.choices.at(slot)
		first, second := &u.were[owner], &u.were[next]
		first.rank = max(first.rank, first.rankOf(slot)+1)
		second.rank = max(second.rank, second.rankOf(slot)+1)
		if next == owner {
			u.end = ^uint64(0)
		}
	}
	for i := range u.were {
		b := &u.were[i]
		if b.rank > 0 {
			u.end = max(u.end, b.timeOf(b.rank-1))
		}
		if b.member == nobody {
			continue
		}
		if t.room[i] <= 0 {
			u.bidders[b.member].rank = b.rank
		}
		b.ample = u.ampleUntil(uint32(i))
		u.bidders[b.member].ample = b.ample
	}
}

// ampleUntil returns the rank up to which a member of the former list had ample room.
func (u *update) ampleUntil(i uint32) uint32 {
	t := u.former.table
	room, rank := t.room[i], u.were[i].rank
	if room >= u.margin {
		return slots
	}
	for ; room < u.margin && rank > 0; rank-- {
		if owner, _ := t.choices.at(u.were[i].permute(rank - 1)); owner == i {
			room += unit
		}
	}
	return rank
}

// invite lets the newcomers make those bids that are before the last that is known
// for their slot, and returns a bit for each of these slots.
func (u *update) invite() []uint64 {
	contested := make([]uint64, slots/64)
	for _, m := range u.came {
		c := &u.bidders[m]
		for ; c.rank < slots && !u.off(); u.budget-- {
			b := c.next()
			if b.time > u.end {
				break
			}
			owner, next := u.former.table.choices.at(b.slot)
			if owner == next || b.before(u.were[next].bidFor(b.slot)) {
				u.calendar.add(b)
				contested[b.slot/64] |= 1 << (b.slot % 64)
			}
		}
		c.rank = slots
	}
	return contested
}

// presume gives the slots to whom they belonged, unless it is contested or room
// may have been short: then those bids are to be made again.
func (u *update) presume(contested []uint64) {
	t := u.former.table
	for slot := range uint32(slots) {
		owner, next := t.choices.at(slot)
		first, second := &u.were[owner], &u.were[next]
		if contested[slot/64]>>(slot%64)&1 == 0 && first.rankOf(slot) < first.ample {
			u.won[slot] = [2]uint32{first.member, first.member}
			u.room[first.member] -= unit
			if next != owner && second.rankOf(slot) < second.ample {
				u.won[slot][1] = second.member
				continue
			}
		} else {
			u.calendar.add(first.bidFor(slot))
		}
		if next != owner {
			u.addLast(second, slot)
		}
	}
	for _, b := range t.refused {
		u.calendar.add(u.were[b.member].bidFor(b.slot))
	}
}

// undo takes back what was presumed of a slot for bids later than b.
func (u *update) undo(b bid) {
	won := &u.won[b.slot]
	if u.room[b.member] <= 0 || won[0] == nobody || !u.mayMatter(b) {
		return
	}
	if next := won[1]; next != won[0] {
		won[1] = won[0]
		u.addLast(&u.bidders[next], b.slot)
	}
	if owner := u.bidders[won[0]].bidFor(b.slot); b.before(owner) {
		*won = [2]uint32{nobody, nobody}
		u.room[owner.member] += unit
		u.calendar.add(owner)
	}
}

// mayMatter tells whether a slot's choices are neither decided nor presumed to be
// so before a bid.
func (u *update) mayMatter(b bid) bool {
	won := u.won[b.slot]
	return u.wants(b.slot) != 0 && (won[0] == won[1] || b.before(u.bidders[won[1]].bidFor(b.slot)))
}
