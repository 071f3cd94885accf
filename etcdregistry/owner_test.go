package etcdregistry

import (
	"strings"
	"testing"
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
		`"steelyard.owner":"a"`:                                                {id: "a"},
		`"steelyard.owner":"a","steelyard.started":"yesterday"`:                {id: "a"},
		`"steelyard.owner":"a","steelyard.started":"9999-12-31T23:59:59.999Z"`: {id: "a"},
		`"steelyard.owner":"a","steelyard.started":"0001-01-01T00:00:00Z"`:     {id: "a"},
		`"steelyard.owner":"` + strings.Repeat("x", 65) + `"`:                  {},
		`"steelyard.owner":7,"steelyard.started":[]`:                           {},
		``: {},
	} {
		value := `{"Op":0,"Addr":"a:1","Metadata":{` + fields + `}}`
		require.Equal(t, want, ownerOf([]byte(value)), fields)
		require.Empty(t, mustDecode(t, value).Labels, fields)
	}
	for _, value := range []string{"", "10.0.0.7:8080", "null", `{"Metadata":"x"}`, strings.Repeat(" ", MaxValueSize) + "{}"} {
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
	late := owner{"c", early.Add(time.Hour)}
	require.Equal(t, late, late.outrank(owner{"a", early}), "it is the newer one as it is")
}
