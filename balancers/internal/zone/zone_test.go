package zone

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// backend is an endpoint with the name of its zone: what carries nothing now is
// down.
type backend struct {
	zone      string
	now, full uint64
}

func of(b *backend) Traits { return Traits{Zone: b.zone, Weight: b.now, Full: b.full} }

// serving returns those of members that take calls.
func serving(members []backend) []backend {
	var up []backend
	for _, m := range members {
		if m.now > 0 {
			up = append(up, m)
		}
	}
	return up
}

func TestSplit_Share(t *testing.T) {
	a, b, c := backend{"a", 10, 10}, backend{"b", 10, 10}, backend{"c", 10, 10}
	none, down := backend{"", 10, 10}, backend{"a", 0, 10}
	for name, tc := range map[string]struct {
		members []backend
		want    float64
		local   int
	}{
		"balanced, all up":               {[]backend{a, a, b, b, c, c}, 1, 2},
		"a quarter down":                 {[]backend{a, a, a, down, b, b, b, b}, 1, 3},
		"half down":                      {[]backend{a, down, b, b}, 1.4 / 2, 1},
		"all down":                       {[]backend{down, down, b, b}, 0, 0},
		"one starts slowly":              {[]backend{{"a", 1, 10}, a, b, b}, 1.4 * 11 / 20, 2},
		"all start slowly":               {[]backend{{"a", 1, 10}, b}, 1.4 / 10, 1},
		"a fifth of what three have":     {[]backend{a, b, b, c, c}, 1.4 * 3 / 5, 1},
		"a tenth of what two have":       {[]backend{{"a", 1, 1}, {"b", 9, 9}}, 1.4 * 2 / 10, 1},
		"small and half down":            {[]backend{{"a", 1, 1}, {"a", 0, 1}, {"b", 8, 8}}, 1.4 * 2 * .2 * .7, 1},
		"members without zone are far":   {[]backend{a, b, none, none}, 1.4 * 2 / 4, 1},
		"more than all the others":       {[]backend{{"a", 80, 80}, b}, 1, 1},
		"only one zone":                  {[]backend{a, a, a}, 1, 3},
		"no zone is none to go to":       {[]backend{a, a, none}, 1, 3},
		"own zone has no member":         {[]backend{b, c, c}, 1, 3},
		"no remote one is up":            {[]backend{a, down, {"b", 0, 10}}, 1, 1},
		"none without a zone is up":      {[]backend{a, down, {"b", 0, 10}, {"", 0, 10}}, 1, 1},
		"nobody is anywhere":             {[]backend{none, none}, 1, 2},
		"the other zone is down, not ''": {[]backend{a, {"b", 0, 10}, none}, 1.4 * 2 / 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			local, remote, share := Split("a", tc.members, serving(tc.members), of)
			require.InDelta(t, tc.want, share, 1e-12)
			require.Len(t, local, tc.local)
			require.Len(t, remote, len(serving(tc.members))-tc.local)
		})
	}
}

func TestSplit_WithoutAnOwnZoneAllAreLocal(t *testing.T) {
	members := []backend{{"a", 1, 1}, {"b", 1, 1}, {"", 1, 1}}
	local, remote, share := Split("", members, members, of)
	require.Equal(t, members, local)
	require.Empty(t, remote)
	require.InDelta(t, 1.0, share, 0)
}

func TestSplit_PartsByZoneInOrder(t *testing.T) {
	members := []backend{{"a", 1, 1}, {"b", 2, 2}, {"a", 3, 3}, {"", 4, 4}, {"a", 5, 5}}
	local, remote, _ := Split("a", members, members, of)
	require.Equal(t, []backend{{"a", 1, 1}, {"a", 3, 3}, {"a", 5, 5}}, local)
	require.Equal(t, []backend{{"b", 2, 2}, {"", 4, 4}}, remote)
}

func TestWeigh_WithOneSideWeightsAreWhatTheyCarry(t *testing.T) {
	local, remote := []backend{{"a", 3, 10}, {"a", 1, 1}}, []backend{{"b", 7, 10}}
	chosen, weights := Weigh(local, remote, 1, of)
	require.Equal(t, local, chosen)
	require.Equal(t, []uint64{3, 1}, weights)
	chosen, weights = Weigh(nil, remote, 0, of)
	require.Equal(t, remote, chosen)
	require.Equal(t, []uint64{7}, weights)
	chosen, weights = Weigh(local, nil, 1, of)
	require.Equal(t, local, chosen)
	require.Equal(t, []uint64{3, 1}, weights)
}

func TestWeigh_SidesGetTheirSharesAndKeepTheirRatios(t *testing.T) {
	random := rand.New(rand.NewPCG(31, 32))
	some := func(zone string, n int, limit uint64) []backend {
		list := make([]backend, n)
		for i := range list {
			list[i] = backend{zone: zone, now: 1 + random.Uint64N(limit)}
		}
		return list
	}
	for _, n := range []int{1, 3, 100, 10_000} {
		for _, limit := range []uint64{1, 10, 10_000_000} {
			for _, share := range []float64{0.003, 0.28, 0.7, 0.995} {
				local, remote := some("a", n, limit), some("b", 1+random.IntN(n), limit)
				chosen, weights := Weigh(local, remote, share, of)
				require.Len(t, weights, len(chosen))
				var near, all float64
				for i, w := range weights {
					first := 0
					if i >= n {
						first = n
					}
					require.Equal(t, weights[first]*chosen[i].now, w*chosen[first].now, "ratio within a side")
					if all += float64(w); chosen[i].zone == "a" {
						near += float64(w)
					}
				}
				require.InDelta(t, share, near/all, 1e-4)
				require.Less(t, all*float64(len(chosen)), float64(math.MaxInt64))
			}
		}
	}
}

func TestValidate(t *testing.T) {
	require.NoError(t, Validate("on"))
	require.NoError(t, Validate("off"))
	require.EqualError(t, Validate("x"), `zonePreference: got "x", want "on" or "off"`)
	require.EqualError(t, Validate(""), `zonePreference: got "", want "on" or "off"`)
}
