package etcdresolver

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestService_GuardsLetGoWithoutAnyEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.commit(change{"payments/a", addrA}, change{"payments/b", addrB}, change{"payments/c", addrC})
		cc := dial(t, etcd.builder(t, WithLogger(logs.logger()), WithShrinkGuard(time.Minute)), "payments")
		synctest.Wait()
		etcd.put("payments/d", addrD)
		pass(settle)

		etcd.commit(change{key: "payments/a"}, change{key: "payments/b"}, change{key: "payments/c"})
		pass(time.Minute)
		require.Equal(t, 2, cc.updates(), "held: nothing to say")
		require.Len(t, logs.with("guard"), 1)
		pass(settle)
		require.Equal(t, addrD, cc.addrs())
		require.Equal(t, 3, cc.updates())
		require.Len(t, logs.with("guard"), 2, "on and off")
	})
}

// Leases that run out in an outage are what the guards are for: who registers again
// was never away, and no channel hears of it.
func TestService_WhoRegistersAgainInTimeWasNeverAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		all := []change{{"payments/a", addrA}, {"payments/b", weighted(addrB, 3)}, {"payments/c", addrC}}
		etcd.commit(all...)
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		etcd.commit(change{key: "payments/a"}, change{key: "payments/b"}, change{key: "payments/c"})
		for _, c := range all {
			pass(10 * time.Second)
			etcd.commit(c)
		}
		pass(time.Hour)
		require.Equal(t, 1, cc.updates())
		require.Empty(t, cc.lastError())
	})
}

func TestService_AMovedAddressIsNoDeparture(t *testing.T) {
	for name, keys := range map[string]string{
		"under its first key":              "abc",
		"under a key that took over since": "xyz",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				for i, addr := range []string{addrA, addrB, addrC} {
					etcd.put("payments/"+keys[i:i+1], addr)
				}
				cc := dial(t, etcd.builder(t), "payments")
				synctest.Wait()
				for i, addr := range []string{addrA, addrB, addrC} {
					etcd.commit(change{key: "payments/" + keys[i:i+1]}, change{"payments/" + "abc"[i:i+1], addr})
				}
				pass(settle)
				etcd.commit(change{"payments/a", addrD}, change{"payments/b", "10.1.0.2:80"}, change{"payments/c", "10.1.0.3:80"})
				pass(settle)
				require.Equal(t, addrD+" 10.1.0.2:80 10.1.0.3:80", cc.addrs())
			})
		})
	}
}

func TestService_GuardsOutliveTheChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.commit(change{"payments/a", addrA}, change{"payments/b", addrB})
		b := etcd.builder(t)
		dialAndWait(t, b).resolver.Close()
		etcd.commit(change{key: "payments/a"}, change{key: "payments/b"})
		cc := dialAndWait(t, b)
		require.Equal(t, addrA+" "+addrB, cc.addrs(), "gone unseen: held from now on")
		pass(defaultEmptyHold)
		require.Empty(t, cc.state().Endpoints)
		require.Contains(t, cc.lastError(), "no instances registered")
	})
}

func TestService_AnEmptyListIsHeldWhileEtcdIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		etcd.delete("payments/a")
		pass(time.Minute)
		etcd.failGets(errHang)
		etcd.setMute(true)
		pass(time.Hour)
		require.Equal(t, addrA, cc.addrs())
		etcd.failGets(nil)
		etcd.setMute(false)
		pass(2 * maxBackoff)
		require.Empty(t, cc.addrs())
	})
}

// A server that drains and is gone before its mark was passed on went on purpose too.
func TestService_WhoDrainedUnnoticedIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.commit(change{"payments/a", addrA}, change{"payments/b", addrB}, change{"payments/c", addrC}, change{"payments/d", addrD})
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		for key, addr := range map[string]string{"payments/a": addrA, "payments/b": addrB, "payments/c": addrC} {
			etcd.put(key, fmt.Sprintf(`{"Addr":%q,"Metadata":{"draining":true}}`, addr))
			etcd.delete(key)
		}
		pass(settle)
		require.Equal(t, addrD, cc.addrs())
	})
}
