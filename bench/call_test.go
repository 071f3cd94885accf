package bench

import (
	"context"
	"encoding/binary"
	"iter"
	"math"
	"math/bits"
	"unsafe"

	"google.golang.org/grpc/balancer"
)

// call is what a goroutine picks for, over and over. Its context is made once
// and points to its key, which is written anew for every pick: so each pick has
// a key of its own and none pays for the making of a context, which in a real
// call is the caller's expense.
type call struct {
	info balancer.PickInfo
	key  [8]byte
}

func (p policy) newCall() *call {
	c := &call{info: balancer.PickInfo{FullMethodName: "/bench.Service/Call", Ctx: context.Background()}}
	if p.keyed() {
		c.info.Ctx = p.context(unsafe.String(&c.key[0], len(c.key)))
	}
	return c
}

// number gives the call its nth key. The keys of different numbers differ, and
// look random.
func (c *call) number(n uint64) {
	binary.LittleEndian.PutUint64(c.key[:], n*0x9E3779B97F4A7C15)
}

// numbered returns the calls with the first n keys.
func (p policy) numbered(n int) iter.Seq[*call] {
	return func(yield func(*call) bool) {
		c := p.newCall()
		for i := range uint64(n) {
			if c.number(i); !yield(c) {
				return
			}
		}
	}
}

// spread returns n calls whose keys are such that their xxhash64 lie evenly
// over all that there are. How many a backend gets is then its share of the
// map, without the luck of the draw.
func (p policy) spread(n int) iter.Seq[*call] {
	return func(yield func(*call) bool) {
		c := p.newCall()
		for i := range n {
			if c.place(i, n); !yield(c) {
				return
			}
		}
	}
}

// place gives the call the ith of n keys whose xxhash64 lie evenly.
func (c *call) place(i, n int) {
	step := math.MaxUint64 / uint64(n)
	binary.LittleEndian.PutUint64(c.key[:], unhash(step/2+uint64(i)*step))
}

// The primes of xxhash64.
const (
	prime1 uint64 = 11400714785074694791
	prime2 uint64 = 14029467366897019727
	prime3 uint64 = 1609587929392839161
	prime4 uint64 = 9650029242287828579
	prime5 uint64 = 2870177450012600261
)

// What undoes the multiplication with them.
var (
	inverse1 = inverse(prime1)
	inverse2 = inverse(prime2)
	inverse3 = inverse(prime3)
)

// unhash walks xxhash64 of eight bytes backwards: each of its steps can be undone.
func unhash(h uint64) uint64 {
	h ^= h >> 32
	h *= inverse3
	h ^= h>>29 ^ h>>58
	h *= inverse2
	h ^= h >> 33
	h = bits.RotateLeft64((h-prime4)*inverse1, -27)
	h ^= prime5 + 8
	return bits.RotateLeft64(h*inverse1, -31) * inverse2
}

// inverse returns what odd must be multiplied with to make 1, modulo 2^64.
func inverse(odd uint64) uint64 {
	x := odd // right in the lowest 3 bits; each round of Newton's method doubles them
	for range 5 {
		x *= 2 - odd*x
	}
	return x
}
