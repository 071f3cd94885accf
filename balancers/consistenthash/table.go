package consistenthash

import (
	"context"
	"math/bits"
	"slices"
)

// Keys belong to slots by the upper bits of their hash. The number of slots is
// the same for every list: one that followed the number of members would move
// half of the keys with each doubling.
const (
	slotBits = 17
	slots    = 1 << slotBits
	unit     = 1 << 16 // the part of a slot that is not divided any more
)

// member is one endpoint as the table knows it.
type member struct {
	addr   string
	weight uint32
}

// table says which members a key prefers. It is a pure function of the members'
// addresses and weights, immutable, and safe for concurrent use.
type table struct {
	choices choices
	limits  []limit // of each member

	// What the next update has to know besides.
	room    []int64 // that each member has left
	refused []bid   // see auction
}

// limit is the one slot, if any, of which a member has only a part, in units.
// The rest belongs to the slot's next choice.
type limit struct{ slot, part uint32 }

// choices are the members that each slot prefers: its owner, and who takes its
// keys while the owner is away, the owner once more if there is no other.
type choices interface {
	at(slot uint32) (owner, next uint32)
}

// packed holds them in as little memory as the number of members allows.
type packed[T uint8 | uint16 | uint32] [][2]T

func (p packed[T]) at(slot uint32) (owner, next uint32) {
	c := &p[slot]
	return uint32(c[0]), uint32(c[1])
}

func pack[T uint8 | uint16 | uint32](all [][2]uint32) packed[T] {
	p := make(packed[T], len(all))
	for i, c := range all {
		p[i] = [2]T{T(c[0]), T(c[1])}
	}
	return p
}

// newTable builds the table of members, at least one, which must be sorted by
// address. It returns nil if ctx ends first.
func newTable(ctx context.Context, members []member) *table {
	a := newAuction(members)
	for !a.over() {
		if ctx.Err() != nil {
			return nil
		}
		a.advance()
	}
	return a.table()
}

// table returns what came of the auction.
func (a *auction) table() *table {
	t := &table{limits: a.limits, room: a.room, refused: slices.Clip(a.refused)}
	switch n := len(a.room); {
	case n <= 1<<8:
		t.choices = pack[uint8](a.won)
	case n <= 1<<16:
		t.choices = pack[uint16](a.won)
	default:
		t.choices = packed[uint32](a.won)
	}
	return t
}

// firstTwo returns the owner of a hash and its next choice.
func (t *table) firstTwo(hash uint64) (owner, next uint32) {
	slot := uint32(hash >> (64 - slotBits))
	owner, next = t.choices.at(slot)
	if l := &t.limits[owner]; l.slot == slot && uint32(hash>>(64-slotBits-16))%unit >= l.part {
		return next, owner
	}
	return owner, next
}

// detours is how many other slots a key tries when its first two choices are
// away: enough to find a member where a few in a hundred take calls.
const detours = 128

// preferences yields the members that a hash prefers, some of them repeatedly:
// the owner and the next choice, then the owners of other slots, which are others
// for each key, so that no member inherits all keys of another; in the end all
// members, so that whoever takes calls is found, in an order that is others too.
func (t *table) preferences(hash uint64) func(yield func(member uint32) bool) {
	return func(yield func(uint32) bool) {
		owner, next := t.firstTwo(hash)
		if !yield(owner) || !yield(next) {
			return
		}
		slot, stride := uint32(hash>>(64-slotBits)), uint32(hash)|1
		for range detours {
			slot = (slot + stride) % slots
			if owner, _ = t.choices.at(slot); !yield(owner) {
				return
			}
		}
		members := uint32(len(t.limits))
		places := uint32(1) << bits.Len32(members-1) // an odd stride leads through all of them
		place := uint32(hash >> 20)                  // bits that the slot alone does not tell
		for range places {
			place = (place + stride) % places
			if place < members && !yield(place) {
				return
			}
		}
	}
}
