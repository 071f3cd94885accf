package etcdresolver

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
)

func TestService_ManyChannelsShareOneWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		var channels []*fakeCC
		for range 100 {
			channels = append(channels, dial(t, b, "payments"))
		}
		synctest.Wait()
		etcd.put("payments/b", addrB)
		pass(settle)
		for _, cc := range channels {
			require.Equal(t, addrA+" "+addrB, cc.addrs())
			require.Equal(t, 2, cc.updates())
		}
		late := dial(t, b, "payments")
		synctest.Wait()
		require.Equal(t, addrA+" "+addrB, late.addrs())
		gets, watches, _ := etcd.counts()
		require.Equal(t, 1, gets)
		require.Equal(t, 1, watches)

		for _, cc := range channels {
			cc.resolver.Close()
			cc.resolver.Close() // twice does no more
		}
		synctest.Wait()
		require.Equal(t, 1, etcd.live(), "one channel is left")
		late.resolver.Close()
		synctest.Wait()
		require.Zero(t, etcd.live())
	})
}

func TestService_ChannelsMayReorderTheirLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.commit(change{"payments/a", addrA}, change{"payments/b", addrB})
		b := etcd.builder(t)
		one, other := dial(t, b, "payments"), dial(t, b, "payments")
		synctest.Wait()
		slices.Reverse(one.state().Endpoints)
		slices.Reverse(one.state().Addresses)
		require.Equal(t, addrA+" "+addrB, other.addrs())
		require.Equal(t, addrA, other.state().Addresses[0].Addr)
		require.Equal(t, addrA+" "+addrB, dialAndWait(t, b).addrs())
	})
}

func dialAndWait(t *testing.T, b resolver.Builder) *fakeCC {
	t.Helper()
	cc := dial(t, b, "payments")
	synctest.Wait()
	return cc
}

func TestService_WakingChannelGetsTheRememberedList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		dialAndWait(t, b).resolver.Close()
		synctest.Wait()
		require.Zero(t, etcd.live())

		etcd.put("payments/b", addrB)
		etcd.failGets(errHang)
		cc := dialAndWait(t, b) // no time passes
		require.Equal(t, addrA, cc.addrs())
		pass(time.Hour)
		require.Empty(t, cc.lastError())

		etcd.failGets(nil)
		pass(2 * maxBackoff)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		require.Equal(t, 2, cc.updates())
	})
}

func TestService_WakingChannelIsNotSentAnEqualList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		dialAndWait(t, b).resolver.Close()
		cc := dialAndWait(t, b)
		pass(settle)
		require.Equal(t, 1, cc.updates())
	})
}

func TestService_WakingChannelHearsNoStaleError(t *testing.T) {
	for name, prepare := range map[string]func(*fakeEtcd){
		"was empty":       func(*fakeEtcd) {},
		"was unreachable": func(etcd *fakeEtcd) { etcd.failGets(errors.New("down")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				prepare(etcd)
				b := etcd.builder(t)
				first := dialAndWait(t, b)
				require.NotEmpty(t, first.lastError())
				second := dialAndWait(t, b)
				require.Equal(t, first.lastError(), second.lastError(), "a second channel hears it at once")
				first.resolver.Close()
				second.resolver.Close()

				etcd.failGets(nil)
				etcd.put("payments/a", addrA)
				cc := dialAndWait(t, b)
				require.Empty(t, cc.lastError())
				require.Equal(t, addrA, cc.addrs())
			})
		})
	}
}

func TestService_AStoppedRunPublishesNothing(t *testing.T) {
	s := newService("payments", &given{store: newFakeEtcd()}, newOptions(nil))
	s.publish(&run{}, &outcome{err: errors.New("of the run before")}, time.Time{})
	require.NoError(t, s.latest.err)
}

func TestService_StillEmptyOnWakingIsSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		b := etcd.builder(t)
		dialAndWait(t, b).resolver.Close()
		require.Contains(t, dialAndWait(t, b).lastError(), "no instances registered")
	})
}

func TestService_ASlowPolicyHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 1))
		b := etcd.builder(t)
		release := make(chan struct{})
		slow := &fakeCC{onUpdate: func(resolver.State) error { <-release; return nil }}
		slow.dial(t, b, "payments")
		quick := dialAndWait(t, b)

		for weight := 2; weight < 10; weight++ {
			etcd.put("payments/a", weighted(addrA, weight))
			pass(settle)
			require.Equal(t, uint32(weight), quick.attrs(addrA).Weight)
		}
		require.Equal(t, 1, slow.updates())
		slow.resolver.Close() // waits for nothing
		again := &fakeCC{onUpdate: slow.onUpdate}
		again.dial(t, b, "payments")
		etcd.put("payments/a", weighted(addrA, 50))
		pass(settle)
		close(release)
		synctest.Wait()
		require.Equal(t, 1, slow.updates(), "nothing after Close")
		require.Equal(t, 2, again.updates(), "skipped to the newest")
		require.Equal(t, uint32(50), again.attrs(addrA).Weight)
	})
}

func TestService_ARefusedListIsSentOnceAndTheNextChangeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		why := balancer.ErrBadResolverState
		cc := &fakeCC{onUpdate: func(resolver.State) error { return why }}
		cc.dial(t, etcd.builder(t, WithLogger(logs.logger())), "payments")
		pass(time.Minute)
		require.Equal(t, 1, cc.updates())
		require.Len(t, logs.with("policy refused the list"), 1)
		etcd.put("payments/a", addrB)
		pass(settle)
		require.Equal(t, 2, cc.updates())
		require.Len(t, logs.with("policy refused the list"), 1, "the same text is no news")
		why = errors.New("no use for it")
		etcd.put("payments/a", addrC)
		pass(settle)
		require.Len(t, logs.with("policy refused the list"), 2)
		why = errors.New("empty")
		etcd.delete("payments/a")
		pass(defaultEmptyHold + settle)
		require.Equal(t, 4, cc.updates())
		require.Len(t, logs.with("policy refused the list"), 2, "that none likes an empty list is no news")
	})
}

func TestService_KeepsTheConnectionTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, conn := newFakeEtcd(), newFakeConn(connectivity.TransientFailure)
		etcd.put("payments/a", addrA)
		etcd.put("orders/a", addrB)
		etcd.failGets(errors.New("down"))
		b := etcd.builderWith(newLink(conn))
		payments, orders := dial(t, b, "payments"), dial(t, b, "orders")
		pass(time.Hour + time.Second)
		resets := conn.resets()
		require.InDelta(t, 2100, resets, 400, "about every 2 s, for all services together")

		etcd.failGets(nil)
		conn.set(connectivity.Ready)
		synctest.Wait() // no wait for a timer
		require.Equal(t, addrA, payments.addrs())
		require.Equal(t, addrB, orders.addrs())
		pass(time.Hour)
		require.Equal(t, resets, conn.resets(), "left alone while it is up")
	})
}

func TestBuilder_BuildDoesNoIOAndNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		block := make(chan struct{})
		etcd.onGet = func(int, clientv3.Op) error { <-block; return nil }
		b := etcd.builder(t)
		stuck := func(resolver.State) error { <-block; return nil }

		for range 3 { // a first channel, and those that find a list to deliver
			cc := &fakeCC{onUpdate: stuck}
			cc.dial(t, b, "payments")
			require.Zero(t, cc.updates(), "Build delivers nothing itself")
		}
		b.service(serviceKey{name: "orders"}, &given{store: etcd}).latest = &outcome{list: []*member{{endpoint: resolver.Endpoint{Addresses: []resolver.Address{{Addr: addrA}}}}}}
		(&fakeCC{onUpdate: stuck}).dial(t, b, "orders")
		close(block)
	})
}
