package demo

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/consistenthash"
)

var testList = map[string]attrs.Attrs{
	"127.0.0.1:1": {Weight: 1},
	"127.0.0.1:2": {Weight: 2},
	"127.0.0.1:3": {Weight: 4},
}

func countOf(owners map[string]string) map[string]int {
	counts := map[string]int{}
	for _, addr := range owners {
		counts[addr]++
	}
	return counts
}

func TestOwnersOf_GoByWeightsAndDrainMarks(t *testing.T) {
	keys := drawKeys(1, 7000)
	before := ownersOf(testList, keys)
	counts := countOf(before)
	for addr, a := range testList {
		// The table gives a share to within 5%; the standard deviation of what keys make of it is under 42.
		require.InDelta(t, 1000*int(a.Weight), counts[addr], 50*float64(a.Weight)+5*42, addr)
	}

	drained := maps.Clone(testList)
	drained["127.0.0.1:3"] = attrs.Attrs{Weight: 4, Draining: true}
	after := ownersOf(drained, keys)
	require.Len(t, after, len(keys))
	for key, addr := range after {
		require.NotEqual(t, "127.0.0.1:3", addr)
		if before[key] != "127.0.0.1:3" {
			require.Equal(t, before[key], addr, "only the drained server's keys move")
		}
	}
}

func TestOwnersOf_NothingBelongsAnywhereWithoutServers(t *testing.T) {
	require.Empty(t, ownersOf(nil, drawKeys(1, 10)))
}

// settledDemo is a demo of the servers a, b and c at the addresses of testList,
// with a client that called every key where it belongs at the time called. It
// tells where that is, too.
func settledDemo(called time.Time) (d *demo, c *client, belongs map[string]string) {
	d = &demo{keys: drawKeys(1, 200)}
	for _, s := range []*server{
		{serverConfig: serverConfig{Name: "a", Weight: 1}, addr: "127.0.0.1:1"},
		{serverConfig: serverConfig{Name: "b", Weight: 2}, addr: "127.0.0.1:2"},
		{serverConfig: serverConfig{Name: "c", Weight: 4}, addr: "127.0.0.1:3"},
	} {
		d.fleet.started = append(d.fleet.started, s)
		d.fleet.serving = append(d.fleet.serving, s)
	}
	hash := slices.IndexFunc(policies, func(p policy) bool { return p.name == consistenthash.Name })
	c = &client{policy: policies[hash], lists: &listLog{list: testList, at: called}, tally: newTally()}
	belongs = ownersOf(testList, d.keys)
	for key, addr := range belongs {
		c.tally.add(key, d.fleet.at(addr).Name, called, nil)
	}
	return d, c, belongs
}

func TestAstray_CountsKeysThatAreElsewhere(t *testing.T) {
	now := time.Now()
	d, c, belongs := settledDemo(now)
	keys, last := d.astray(c)
	require.Zero(t, keys)
	require.Zero(t, last)

	key := d.keys[0]
	owner := d.fleet.at(belongs[key]).Name
	other := map[string]string{"a": "b", "b": "c", "c": "a"}[owner]
	c.tally.add(key, other, now.Add(time.Second), nil)
	keys, _ = d.astray(c)
	require.Equal(t, 1, keys)

	c.tally.add(key, owner, now.Add(2*time.Second), nil)
	keys, last = d.astray(c)
	require.Zero(t, keys)
	require.Equal(t, now.Add(time.Second), last, "the last call elsewhere")
}

func TestAstray_FollowsTheList(t *testing.T) {
	now := time.Now()
	d, c, belongs := settledDemo(now)
	keys, _ := d.astray(c)
	require.Zero(t, keys)

	heavier := maps.Clone(testList)
	heavier["127.0.0.1:1"] = attrs.Attrs{Weight: 8}
	c.lists.list, c.lists.at = heavier, now.Add(time.Second)
	keys, _ = d.astray(c)
	// The heavier one has 8 of 14 in place of 1 of 7: 86 keys more of 200. Five standard deviations are 35.
	require.InDelta(t, 86, keys, 35)
	require.InDelta(t, 86, countOf(c.owners.addrs)["127.0.0.1:1"]-countOf(belongs)["127.0.0.1:1"], 35)

	c.lists.list, c.lists.at = nil, now.Add(2*time.Second)
	keys, _ = d.astray(c)
	require.Len(t, d.keys, keys, "without a list none is at home")
}

func TestAstray_KeysOfADeadServerMayBeAtAnyOther(t *testing.T) {
	now := time.Now()
	d, c, belongs := settledDemo(now)
	d.fleet.retire(d.fleet.get("c"))
	keys, _ := d.astray(c)
	require.Equal(t, countOf(belongs)["127.0.0.1:3"], keys, "they are still at the dead one")

	for key, addr := range belongs {
		if addr == "127.0.0.1:3" {
			c.tally.add(key, "a", now.Add(time.Second), nil)
		}
	}
	keys, last := d.astray(c)
	require.Zero(t, keys)
	require.Equal(t, now, last, "when the last call to the dead one began")
}

func TestAstray_OtherPoliciesHaveNoHomes(t *testing.T) {
	d, c, _ := settledDemo(time.Now())
	c.policy, c.tally = policies[0], newTally()
	keys, last := d.astray(c)
	require.Zero(t, keys)
	require.Zero(t, last)
}

func TestHome_ALateAnswerChangesNothing(t *testing.T) {
	now := time.Now()
	h := home{}.after("a", now).after("b", now.Add(2*time.Second))
	require.Equal(t, h, h.after("a", now.Add(time.Second)))
	require.Equal(t, home{server: "b", begun: now.Add(3 * time.Second), left: now}, h.after("b", now.Add(3*time.Second)))
}

func TestMovedKeys_TellsStraysFromThoseOfTheServer(t *testing.T) {
	homes := func(servers map[string]string) map[string]home {
		homes := map[string]home{}
		for key, server := range servers {
			homes[key] = home{server: server}
		}
		return homes
	}
	before := homes(map[string]string{"1": "a", "2": "a", "3": "b", "4": "b", "5": "c"})
	after := homes(map[string]string{"1": "a", "2": "b", "3": "c", "4": "b", "5": "a", "6": "a"})
	moved, strays := movedKeys(before, after, "a")
	require.Equal(t, 3, moved)
	require.Equal(t, 1, strays, "3 went from b to c")
}
