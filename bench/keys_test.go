package bench

import (
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
)

// owners returns the number of the backend that each of n keys goes to, keys
// whose hashes lie evenly.
func (h *host) owners(n int) []int32 {
	owners := make([]int32, 0, n)
	for c := range h.of.spread(n) {
		picked := h.pick(c)
		if picked.Done != nil {
			picked.Done(ended)
		}
		owners = append(owners, picked.SubConn.(*subConn).number)
	}
	return owners
}

// differing counts the keys that have another backend in one map than in the
// other, as a share of all.
func differing(a, b []int32) float64 {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return float64(n) / float64(len(a))
}

// moves are what happens to one backend of a list, with what it costs: the
// share of the keys that got another backend ÷ the least that must, which is
// how much the backends gain that gain.
type moves struct {
	host *host
	list []resolver.Endpoint // before it all
	keys int
	all  metrics // each the sum over the backends that things happened to

	now    []int32   // where the keys are
	shares []float64 // and how many of them each backend should have
}

// watch returns the moves of a channel that has settled with list.
func (h *host) watch(list []resolver.Endpoint, keys int) *moves {
	return &moves{host: h, list: list, keys: keys, all: make(metrics), now: h.owners(keys), shares: h.of.fair(list)}
}

// step takes note of what has just been done, after which the backends should
// have these shares, under a name, or "" for what is of no interest.
func (m *moves) step(name string, shares []float64) {
	m.host.settle()
	owners := m.host.owners(m.keys)
	least := 0.0
	for i := range shares {
		least += max(0, shares[i]-m.shares[i])
	}
	if name != "" {
		m.all[name] += differing(m.now, owners) / least
	}
	m.now, m.shares = owners, shares
}

// happen does to the backend with index i all that can happen to one. In the
// end the list is what it was.
func (m *moves) happen(i int) {
	h, before := m.host, m.now
	complete := m.shares
	without := slices.Delete(slices.Clone(m.list), i, i+1)
	gone := slices.Insert(h.of.fair(without), i, 0)

	for name, factor := range map[string]float64{"halved/opt": 0.5, "doubled/opt": 2} {
		changed := slices.Clone(m.list)
		weight := float64(attrs.FromEndpoint(m.list[i]).Weight) * factor
		changed[i] = endpoint(m.list[i].Addresses[0].Addr, uint32(weight))
		h.update(changed)
		m.step(name, h.of.fair(changed))
		h.update(m.list)
		m.step("", complete)
	}

	h.update(without)
	m.step("removed/opt", gone)
	h.update(m.list)
	h.connect()
	m.step("added/opt", complete)

	connection := h.connection(m.list[i])
	h.fail(connection, m.wanted(connection))
	m.step("down/opt", gone)
	h.recover(connection)
	m.step("up/opt", complete)
	m.all["strays-%"] += 100 * differing(before, m.now)

	h.fail(connection, m.wanted(connection))
	m.step("", gone)
	down := m.now
	h.update(without)
	m.step("", gone)
	m.all["forgotten/opt"] += differing(down, m.now) / complete[i] // nothing need move
	h.update(m.list)
	h.connect()
	m.step("", complete)
}

// wanted returns a call for a backend.
func (m *moves) wanted(s *subConn) *call {
	c := m.host.of.newCall()
	c.place(max(0, slices.Index(m.now, s.number)), m.keys)
	return c
}

// BenchmarkKeysMoved maps many keys before and after something happened to a
// backend, one after the other to three of them, and reports how many keys
// moved ÷ how few would have done. It reports no time. With 10,000 backends
// gRPC's ring has room for some of them only, others after each change, which
// then have to connect one by one: that takes minutes, and longEnv.
func BenchmarkKeysMoved(b *testing.B) {
	sizes, weightings := sizes, weightings
	if onlyTried() {
		sizes, weightings = sizes[1:2], weightings[1:2]
	}
	for _, p := range only(func(p policy) bool { return distinct(p) && p.keyed() }) {
		for _, w := range weightings {
			for _, n := range sizes {
				if p.stock && n > 1_000 && os.Getenv(longEnv) == "" {
					continue
				}
				report(b, fmt.Sprintf("policy=%s/weights=%s/backends=%d", p.label, w.label, n), func(b *testing.B) metrics {
					return keysMoved(b, p, n, w.weights(n))
				})
			}
		}
	}
}

func keysMoved(b *testing.B, p policy, n int, weights []uint32) metrics {
	weights = slices.Clone(weights)
	for i := range weights {
		weights[i] *= 2 // so that they can be halved
	}
	keys := 1 << 17
	for keys < 100*n {
		keys *= 2
	}
	list := endpoints(n, weights...)
	h := opened(b, p, list, p.spread(keys))
	defer h.close()
	h.settle()
	m := h.watch(list, keys)
	const victims = 3
	for v := range victims {
		m.happen((2*v + 1) * n / (2 * victims))
	}
	for name := range m.all {
		m.all[name] = math.Round(1e6*m.all[name]/victims) / 1e6
	}
	return m.all
}
