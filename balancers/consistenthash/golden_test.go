package consistenthash

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"
)

// Clients of different releases, architectures and machines must agree on where
// a key goes, and where next. The vectors were computed by another program in
// another language, from the definitions in this package's comments, xxhash64
// included. Whoever has to change them moves the keys of everyone who upgrades
// one client before the other.
var golden = []struct{ key, alike, alikeNext, weighted, weightedNext string }{
	{"", "unix:/run/cache.sock", "[2001:db8::1]:443", "unix:/run/cache.sock", "cache-a.example.com:80"},
	{"a", "cache-a.example.com:80", "10.0.0.2:8080", "cache-a.example.com:80", "unix:/run/cache.sock"},
	{"b", "10.0.0.2:8080", "unix:/run/cache.sock", "10.0.0.2:8080", "unix:/run/cache.sock"},
	{"user-1", "10.0.0.1:8080", "unix:/run/cache.sock", "unix:/run/cache.sock", "[2001:db8::1]:443"},
	{"user-2", "10.0.0.1:8080", "[2001:db8::1]:443", "10.0.0.1:8080", "[2001:db8::1]:443"},
	{"user-3", "unix:/run/cache.sock", "10.0.0.1:8080", "unix:/run/cache.sock", "10.0.0.1:8080"},
	{"user-4", "10.0.0.1:8080", "[2001:db8::1]:443", "[2001:db8::1]:443", "10.0.0.1:8080"},
	{"alice", "10.0.0.2:8080", "cache-a.example.com:80", "10.0.0.2:8080", "cache-a.example.com:80"},
	{"bob", "[2001:db8::1]:443", "10.0.0.2:8080", "[2001:db8::1]:443", "10.0.0.2:8080"},
	{"a,b", "cache-a.example.com:80", "10.0.0.2:8080", "cache-a.example.com:80", "10.0.0.2:8080"},
	{"A", "unix:/run/cache.sock", "cache-a.example.com:80", "unix:/run/cache.sock", "cache-a.example.com:80"},
	{"ü", "cache-a.example.com:80", "[2001:db8::1]:443", "cache-a.example.com:80", "[2001:db8::1]:443"},
	{"日本", "cache-a.example.com:80", "10.0.0.1:8080", "cache-a.example.com:80", "unix:/run/cache.sock"},
	{"\x00", "unix:/run/cache.sock", "cache-a.example.com:80", "unix:/run/cache.sock", "cache-a.example.com:80"},
	{"192.0.2.1", "unix:/run/cache.sock", "10.0.0.1:8080", "unix:/run/cache.sock", "[2001:db8::1]:443"},
	{"550e8400-e29b-41d4-a716-446655440000", "[2001:db8::1]:443", "10.0.0.1:8080", "[2001:db8::1]:443", "10.0.0.1:8080"},
	{"session/7f3a", "unix:/run/cache.sock", "10.0.0.1:8080", "unix:/run/cache.sock", "[2001:db8::1]:443"},
	{"key with spaces", "cache-a.example.com:80", "[2001:db8::1]:443", "cache-a.example.com:80", "[2001:db8::1]:443"},
	{"0", "unix:/run/cache.sock", "10.0.0.2:8080", "unix:/run/cache.sock", "10.0.0.2:8080"},
	{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "[2001:db8::1]:443", "cache-a.example.com:80", "[2001:db8::1]:443", "cache-a.example.com:80"},
}

func TestTable_GoldenVectors(t *testing.T) {
	t.Parallel()
	alike, weighted := make([]member, 0, len(goldenAddrs)), make([]member, 0, len(goldenAddrs))
	for i, addr := range goldenAddrs {
		alike = append(alike, member{addr, 1})
		weighted = append(weighted, member{addr, goldenWeights[i]})
	}
	alikeTable, weightedTable := tableOf(alike), tableOf(weighted)
	for i, tc := range golden {
		alikeTable.requireChoices(t, tc.key, tc.alike, tc.alikeNext, i)
		weightedTable.requireChoices(t, tc.key, tc.weighted, tc.weightedNext, i)
	}
}

func (t fleetTable) requireChoices(tb testing.TB, key, owner, next string, vector int) {
	tb.Helper()
	gotOwner, gotNext := t.firstTwo(xxhash.Sum64String(key))
	require.Equalf(tb, owner, t.members[gotOwner].addr, "owner in vector %d: %q", vector, key)
	require.Equalf(tb, next, t.members[gotNext].addr, "next choice in vector %d: %q", vector, key)
}

// Digests of whole tables, of members of few and many, with limits that divide
// slots, as computed by another program in another language: see golden.
func TestTable_GoldenDigests(t *testing.T) {
	t.Parallel()
	five := make([]member, 0, len(goldenAddrs))
	for _, addr := range goldenAddrs {
		five = append(five, member{addr, 1})
	}
	weighted := slices.Clone(five)
	for i, w := range goldenWeights {
		weighted[i].weight = w
	}
	for _, tc := range []struct {
		name    string
		members []member
		digest  uint64
	}{
		{"five alike", five, 0xb2ca7d4646b779c3},
		{"five weighted", weighted, 0xdc5fd734b2973970},
		{"many alike", goldenMany(1), 0xe8c0d633bbd69127},
		{"many weighted", goldenMany(1, 3, 10, 1000), 0xb12c85e0ec815df4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table, digest := build(sorted(tc.members)), xxhash.New()
			for slot := range uint32(slots) {
				owner, next, part := table.divided(slot)
				var text []byte
				for _, v := range []uint32{owner, next, part % unit} {
					text = binary.LittleEndian.AppendUint32(text, v)
				}
				_, _ = digest.Write(text)
			}
			require.Equal(t, tc.digest, digest.Sum64())
		})
	}
}

var (
	goldenAddrs   = []string{"10.0.0.1:8080", "10.0.0.2:8080", "[2001:db8::1]:443", "cache-a.example.com:80", "unix:/run/cache.sock"}
	goldenWeights = []uint32{1, 2, 3, 5, 4}
)

func goldenMany(weights ...uint32) []member {
	members := make([]member, 60)
	for i := range members {
		members[i] = member{fmt.Sprintf("10.1.0.%d:443", i), weights[i%len(weights)]}
	}
	return members
}
