package etcdresolver

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/etcdregistry"
)

// withOverrides undoes WithoutOverrides, which the fake's builders have.
func withOverrides(o *options) { o.overrides = true }

func overrideKey(id string) string { return etcdregistry.OverrideKey("payments", id) }

func TestOverrides_ChangeWhatTheInstanceSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 5))
		etcd.put("payments/b", weighted(addrB, 5))
		cc := dial(t, etcd.builder(t, withOverrides), "payments")
		synctest.Wait()

		for _, step := range []struct {
			name     string
			do       func()
			weight   uint32
			draining bool
		}{
			{"nothing yet", func() {}, 5, false},
			{"a weight", func() { etcd.put(overrideKey("a"), `{"weight":2}`) }, 2, false},
			{"another", func() { etcd.put(overrideKey("a"), `{"weight":"3","reason":"disks"}`) }, 3, false},
			{"the instance says another weight", func() { etcd.put("payments/a", weighted(addrA, 50)) }, 3, false},
			{"the instance registers again", func() { etcd.delete("payments/a"); pass(settle); etcd.put("payments/a", weighted(addrA, 7)) }, 3, false},
			{"no more weight, but draining", func() { etcd.put(overrideKey("a"), `{"draining":true}`) }, 7, true},
			{"weight 0 is draining", func() { etcd.put(overrideKey("a"), `{"weight":0}`) }, 7, true},
			{"it says nothing", func() { etcd.put(overrideKey("a"), `{}`) }, 7, false},
			{"again a weight", func() { etcd.put(overrideKey("a"), `{"weight":9}`) }, 9, false},
			{"unseen behind it", func() { etcd.put("payments/a", weighted(addrA, 8)) }, 9, false},
			{"lifted", func() { etcd.delete(overrideKey("a")) }, 8, false},
			{"of a deeper key", func() { etcd.put(overrideKey("a/a"), `{"weight":9}`) }, 8, false},
			{"of another service", func() { etcd.put(etcdregistry.OverrideKey("payments-eu", "a"), `{"weight":9}`) }, 8, false},
		} {
			step.do()
			pass(settle)
			require.Equal(t, step.weight, cc.attrs(addrA).Weight, step.name)
			require.Equal(t, step.draining, cc.attrs(addrA).Draining, step.name)
			require.Equal(t, uint32(5), cc.attrs(addrB).Weight, step.name)
		}
	})
}

func TestOverrides_WaitForTheInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put(overrideKey("a"), `{"weight":2}`)
		cc := dial(t, etcd.builder(t, withOverrides), "payments")
		synctest.Wait()
		etcd.put(overrideKey("b"), `{"draining":true}`)
		pass(settle)
		etcd.commit(change{"payments/a", weighted(addrA, 5)}, change{"payments/b", addrB})
		pass(settle)
		require.Equal(t, 1, cc.updates())
		require.Equal(t, uint32(2), cc.attrs(addrA).Weight)
		require.True(t, cc.attrs(addrB).Draining)
	})
}

// Other frameworks make up a new id with each registration: the address stays.
func TestOverrides_GoByTheIDThenByTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/7587", addrA)
		etcd.put(overrideKey(addrA), `{"weight":2}`)
		cc := dial(t, etcd.builder(t, withOverrides), "payments")
		synctest.Wait()
		require.Equal(t, uint32(2), cc.attrs(addrA).Weight, "by address")

		etcd.put(overrideKey("7587"), `{"weight":3}`)
		pass(settle)
		require.Equal(t, uint32(3), cc.attrs(addrA).Weight, "by id")
		etcd.put(overrideKey(addrA), `{"weight":4}`)
		pass(settle)
		require.Equal(t, uint32(3), cc.attrs(addrA).Weight, "the id still goes before")
		etcd.delete(overrideKey("7587"))
		pass(settle)
		require.Equal(t, uint32(4), cc.attrs(addrA).Weight)

		etcd.commit(change{key: "payments/7587"}, change{"payments/9001", addrA})
		pass(settle)
		require.Equal(t, uint32(4), cc.attrs(addrA).Weight, "another id, the same address")
		etcd.put("payments/9001", addrB)
		pass(settle)
		require.Equal(t, uint32(1), cc.attrs(addrB).Weight, "it moved away from the override")
		etcd.put("payments/9002", addrA)
		pass(settle)
		require.Equal(t, uint32(4), cc.attrs(addrA).Weight, "whoever has the address")
	})
}

func TestOverrides_ABadOneKeepsTheLastGoodOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		etcd.put(overrideKey("a"), `{"weight":2}`)
		cc := dial(t, etcd.builder(t, withOverrides, WithLogger(logs.logger())), "payments")
		synctest.Wait()
		for i, bad := range []string{"{", "5", `{"weight":-1}`, `{"weight":1000001}`, `{"draining":"perhaps"}`, strings.Repeat(" ", etcdregistry.MaxValueSize) + "{}"} {
			etcd.put(overrideKey("a"), bad)
			pass(settle)
			require.Equal(t, uint32(2), cc.attrs(addrA).Weight)
			require.Len(t, logs.with("value refused"), i+1)
			require.Contains(t, logs.with("value refused")[i], "steelyard/overrides/payments/a")
			require.Contains(t, logs.with("value refused")[i], "last_good_kept=true")
			etcd.watchOf("steelyard/overrides/payments/").finish() // the list shows it again
			pass(maxExtraBackoff)
			require.Len(t, logs.with("value refused"), i+1, "once for each revision")
		}
		etcd.put(overrideKey("b"), "{")
		pass(settle)
		require.Len(t, logs.with("last_good_kept=false"), 1)
		etcd.put(overrideKey("a"), `{"weight":3}`)
		pass(settle)
		require.Equal(t, uint32(3), cc.attrs(addrA).Weight)
	})
}

func TestOverrides_LiftedUnseenAreLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.put(overrideKey("a"), `{"draining":true}`)
		b := etcd.builder(t, withOverrides)
		cc := dialAndWait(t, b)
		require.True(t, cc.attrs(addrA).Draining)
		cc.resolver.Close()
		etcd.delete(overrideKey("a"))
		cc = dialAndWait(t, b)
		pass(settle)
		require.Equal(t, addrA, cc.addrs())
		require.False(t, cc.attrs(addrA).Draining)
	})
}

func TestOverrides_WhoIsDrainedByOneLeavesOnPurpose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.commit(change{"payments/a", addrA}, change{"payments/b", addrB}, change{"payments/c", addrC}, change{"payments/d", addrD})
		cc := dial(t, etcd.builder(t, withOverrides), "payments")
		synctest.Wait()
		etcd.commit(change{overrideKey("a"), `{"draining":true}`}, change{overrideKey("b"), `{"draining":true}`}, change{overrideKey("c"), `{"draining":true}`})
		pass(settle)
		etcd.commit(change{key: "payments/a"}, change{key: "payments/b"}, change{key: "payments/c"})
		pass(settle)
		require.Equal(t, addrD, cc.addrs())
	})
}

func TestOverrides_CanBeTurnedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 5))
		etcd.put(overrideKey("a"), `{"weight":2}`)
		cc := dial(t, etcd.builder(t, WithoutOverrides()), "payments")
		pass(time.Minute)
		require.Equal(t, uint32(5), cc.attrs(addrA).Weight)
		require.Nil(t, etcd.watchOf("steelyard/overrides/payments/"), "it saves a watch")
	})
}

func TestOverrides_ByIDAndByAddressCombine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 9))
		cc := dial(t, etcd.builder(t, withOverrides), "payments")
		for _, step := range []struct {
			id, value string
			weight    uint32
			draining  bool
		}{
			{addrA, `{"weight":3,"draining":true}`, 3, true},
			{"a", `{"weight":5}`, 5, true},
			{addrA, `{"weight":4}`, 5, false},
			{"a", `{"draining":true}`, 4, true},
			{addrA, "", 9, true},
			{"a", "", 9, false},
		} {
			etcd.put(overrideKey(step.id), step.value)
			pass(settle)
			require.Equal(t, step.weight, cc.attrs(addrA).Weight, step)
			require.Equal(t, step.draining, cc.attrs(addrA).Draining, step)
		}
	})
}

func TestOverrides_WhoIsHeldCanBeDrained(t *testing.T) {
	for _, id := range []string{"a", addrA} {
		synctest.Test(t, func(t *testing.T) {
			etcd := newFakeEtcd()
			etcd.commit(change{"payments/a", addrA}, change{"payments/b", addrB})
			cc := dial(t, etcd.builder(t, withOverrides), "payments")
			pass(settle)
			etcd.commit(change{key: "payments/a"}, change{key: "payments/b"})
			pass(settle)
			require.Equal(t, addrA+" "+addrB, cc.addrs())
			etcd.put(overrideKey(id), `{"draining":true}`)
			pass(settle)
			require.Equal(t, addrB, cc.addrs())
		})
	}
}

// A list shows it: the key has another create revision.
func TestOverrides_AKeyMadeAnewUnseenKeepsNothingOfTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", weighted(addrA, 5))
		etcd.put(overrideKey("a"), `{"weight":2}`)
		cc := dial(t, etcd.builder(t, withOverrides, WithLogger(logs.logger())), "payments")
		synctest.Wait()
		anew := func(value string) {
			etcd.unheard(change{key: overrideKey("a")})
			etcd.unheard(change{overrideKey("a"), value})
			etcd.watchOf("steelyard/overrides/payments/").finish()
			pass(maxExtraBackoff)
		}
		anew("{")
		require.Equal(t, uint32(5), cc.attrs(addrA).Weight, "who lifted the old one is obeyed")
		require.Len(t, logs.with("last_good_kept=false"), 1)
		etcd.put(overrideKey("a"), `{"weight":3}`)
		pass(settle)
		etcd.put(overrideKey("a"), "{")
		pass(settle)
		require.Equal(t, uint32(3), cc.attrs(addrA).Weight, "of the same key")
		anew(`{"weight":4}`)
		require.Equal(t, uint32(4), cc.attrs(addrA).Weight)
	})
}
