package etcdregistry

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

func TestOwner_StandsInTheValueAndIsNoLabel(t *testing.T) {
	by := owner{id: "0123456789abcdef", started: time.Date(2026, 3, 1, 9, 30, 0, 7e6, time.UTC)}
	inst := Instance{ID: testAddr, Addr: testAddr, Attrs: attrs.Attrs{Labels: map[string]string{"version": "1"}}}
	value, err := encode(inst, by)
	require.NoError(t, err)
	require.Equal(t, `{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"draining":false,"steelyard.owner":"0123456789abcdef",`+
		`"steelyard.started":"2026-03-01T09:30:00.007Z","version":"1"}}`, value)
	require.Equal(t, inst, mustDecode(t, value))
	require.Equal(t, by, ownerOf([]byte(value)))
}

func TestOwner_IsRandomAndNow(t *testing.T) {
	now := time.Date(2026, 3, 1, 10, 30, 0, 7_999_999, time.FixedZone("", 3600))
	a, b := newOwner(now), newOwner(now)
	require.NotEqual(t, a.id, b.id)
	require.Len(t, a.id, 16)
	require.Equal(t, time.Date(2026, 3, 1, 9, 30, 0, 7e6, time.UTC), a.started)
}

func TestOwner_BadOnesSayNothing(t *testing.T) {
	started := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	for fields, want := range map[string]owner{
		`"steelyard.owner":"a","steelyard.started":"2026-03-01T09:30:00Z"`:        {id: "a", started: started},
		`"steelyard.owner":"a","steelyard.started":"2026-03-01T10:30:00.0+01:00"`: {id: "a", started: started},
		`"steelyard.owner":"a"`:                                                 {id: "a"},
		`"steelyard.owner":"a","steelyard.started":"yesterday"`:                 {id: "a"},
		`"steelyard.owner":"a","steelyard.started":"9999-12-31T23:59:59.999Z"`:  {id: "a"},
		`"steelyard.owner":"a","steelyard.started":"9998-12-31T23:59:59-00:01"`: {id: "a"},
		`"steelyard.owner":"a","steelyard.started":"1970-12-31T23:59:59.999Z"`:  {id: "a"},
		`"steelyard.owner":"a","steelyard.started":"0001-01-01T00:00:00Z"`:      {id: "a"},
		`"steelyard.owner":"` + strings.Repeat("x", 64) + `"`:                   {id: strings.Repeat("x", 64)},
		`"steelyard.owner":"` + strings.Repeat("x", 65) + `"`:                   {},
		`"steelyard.owner":7,"steelyard.started":[]`:                            {},
		``: {},
	} {
		value := `{"Op":0,"Addr":"a:1","Metadata":{` + fields + `}}`
		require.Equal(t, want, ownerOf([]byte(value)), fields)
		require.Empty(t, mustDecode(t, value).Labels, fields)
	}
	for _, value := range []string{"", "10.0.0.7:8080", "null", `{"Metadata":"x"}`, `{"Metadata":{"steelyard.owner":"a"}}` + strings.Repeat(" ", MaxValueSize)} {
		require.Zero(t, ownerOf([]byte(value)), "%.20s", value)
	}
}

// Of any two owners exactly one yields, and a newcomer outranks whom it finds.
func TestOwner_OneOfTwoYields(t *testing.T) {
	early := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	owners := []owner{{"a", early}, {"b", early}, {"a", early.Add(time.Millisecond)}, {"c", early.Add(time.Hour)}}
	for _, one := range owners {
		for _, other := range owners {
			if one != other {
				require.NotEqual(t, one.yieldsTo(other), other.yieldsTo(one), "%v %v", one, other)
			}
			newcomer := one.outrank(other)
			newcomer.id += "new"
			require.True(t, other.yieldsTo(newcomer), "%v %v", one, other)
			require.False(t, newcomer.yieldsTo(other), "%v %v", one, other)
		}
		require.True(t, one.yieldsTo(owner{id: "z"}), "who does not say when it started wrote last")
	}
	require.True(t, owners[0].yieldsTo(owners[1]), "other versions decide in the same way")
	late := owner{"c", early.Add(time.Hour)}
	require.Equal(t, late, late.outrank(owner{"a", early}), "it is the newer one as it is")
}

// Whatever it finds and whatever its clock shows, others read the same start in its value
// that a newcomer has in mind, and the one it finds yields.
func TestOwner_NewcomerIsTheLastAtTheEndOfTimeToo(t *testing.T) {
	last := time.Date(9998, 12, 31, 23, 59, 59, 999e6, time.UTC)
	found := []owner{
		{id: "z"},
		{"z", last},
		{"z", last.Add(-time.Millisecond)},
		{"z", time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"z", time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
	for _, clock := range []time.Time{
		time.Unix(0, 0), time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC), last, last.Add(time.Second), last.AddDate(9999, 0, 0),
	} {
		for _, other := range found {
			newcomer := newOwner(clock).outrank(other)
			value, err := encode(Instance{Addr: testAddr}, newcomer)
			require.NoError(t, err)
			require.Equal(t, newcomer, ownerOf([]byte(value)), "%v finds %v", clock, other)
			require.True(t, other.yieldsTo(newcomer), "%v finds %v", clock, other)
			require.Equal(t, newcomer.started.IsZero(), newcomer.yieldsTo(other), "%v finds %v", clock, other)
		}
	}
}

// Neither the value nor its successors hold the key against a newcomer.
func TestOwner_AbsurdStartHoldsNoKey(t *testing.T) {
	for _, started := range []string{"9998-12-31T23:59:59.999Z", "9998-12-31T23:59:59.998Z", "9998-12-31T23:59:59-12:00", "2090-01-01T00:00:00Z"} {
		synctest.Test(t, func(t *testing.T) {
			var s fakeStore
			mustGrant(t, &s)(`{"Op":0,"Addr":"10.0.0.9:1","Metadata":{"steelyard.owner":"zzz","steelyard.started":"` + started + `"}}`)
			for weight := range uint32(5) {
				mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 1 + weight}})
				pass(3 * yieldFor)
				require.Equal(t, 1+weight, mustDecode(t, s.key(testKey).value).Weight)
			}
			require.Equal(t, 5, s.count("swap"), "they fight")
		})
	}
}
