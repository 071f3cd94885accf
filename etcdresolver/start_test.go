package etcdresolver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/resolver"
)

func TestStart_WithoutAMajorityOneMembersListServes(t *testing.T) {
	for name, err := range map[string]error{"hangs": errHang, "fails": rpctypes.ErrNoLeader} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd, logs := newFakeEtcd(), &logLines{}
				etcd.put("payments/a", addrA)
				etcd.put("payments/b", addrB)
				etcd.noMajority(err)
				b := etcd.builder(t, WithLogger(logs.logger()))
				cc := dial(t, b, "payments")
				pass(listTimeout[0])
				require.Equal(t, addrA+" "+addrB, cc.addrs())
				require.Empty(t, cc.lastError())
				require.Equal(t, Degraded, only(t, b).State)

				// It is for the start only: nothing is removed by it, and nothing added.
				etcd.delete("payments/b")
				etcd.put("payments/c", addrC)
				pass(time.Minute)
				require.Equal(t, 1, cc.updates())
				require.Len(t, logs.with("no majority"), 1)
				require.Zero(t, only(t, b).LastSynced)

				etcd.failGets(nil)
				pass(2 * maxBackoff)
				require.Equal(t, addrA+" "+addrC, cc.addrs())
				require.Equal(t, 2, cc.updates())
				require.Equal(t, Synced, only(t, b).State)
			})
		})
	}
}

func TestStart_AMemberIsGivenTimeToAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 250 * time.Millisecond
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.onGet = func(_ int, op clientv3.Op) error {
			if op.IsSerializable() {
				<-time.After(takes)
				return nil
			}
			return errHang
		}
		cc := dial(t, etcd.builder(t), "payments")
		pass(listTimeout[0] + takes)
		require.Equal(t, addrA, cc.addrs())
	})
}

func TestStart_OneMembersEmptyListIsNotBelieved(t *testing.T) {
	for name, key := range map[string]string{"empty": "orders/a", "but for a deeper service's": "payments/eu/a"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				etcd.put(key, addrA)
				etcd.noMajority(errHang)
				b := etcd.builder(t)
				cc := dial(t, b, "payments")
				pass(time.Second)
				require.Contains(t, cc.lastError(), "no list of payments/ from etcd", "nobody knows whether there are instances")
				require.Equal(t, Init, only(t, b).State)
				pass(time.Minute)
				require.NotContains(t, cc.lastError(), "no instances registered")
				etcd.failGets(nil)
				pass(2 * maxBackoff)
				require.Contains(t, cc.lastError(), "no instances registered")
			})
		})
	}
}

func TestStart_AMemberThatCatchesUpIsBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.noMajority(errHang)
		cc := dial(t, etcd.builder(t), "payments")
		pass(time.Second)
		require.Empty(t, cc.addrs())
		etcd.put("payments/a", addrA)
		pass(time.Minute)
		require.Equal(t, addrA, cc.addrs())
	})
}

func TestStart_ARememberedListNeedsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		dialAndWait(t, b).resolver.Close()
		synctest.Wait()
		etcd.delete("payments/a")
		etcd.put("payments/b", addrB)
		etcd.noMajority(errHang)
		cc := dial(t, b, "payments")
		pass(time.Minute)
		require.Equal(t, addrA, cc.addrs())
	})
}

func TestStart_AMemberThatHangsTooIsAnErrorWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.failGets(errHang)
		cc := dial(t, etcd.builder(t, withOverrides, WithServiceConfig("")), "payments")
		pass(time.Second - time.Millisecond)
		require.Contains(t, cc.lastError(), "no answer within 500ms")
	})
}

func TestStart_AClearRefusalIsReportedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.failGets(rpctypes.ErrPermissionDenied)
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		require.Contains(t, cc.lastError(), "payments/ from etcd at [etcd-1:2379] yet: etcdserver: permission denied")
	})
}

// In whatever order the lists come, a channel does not start with a list that lacks
// the overrides, or under another policy than the one it is told to use.
func TestStart_TheFirstUpdateHasItAll(t *testing.T) {
	const instances, overrides, config = "payments/", "steelyard/overrides/", "steelyard/config/"
	for name, order := range map[string][]string{
		"instances first": {instances, overrides, config},
		"instances last":  {config, overrides, instances},
		"between":         {overrides, instances, config},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				etcd.put("payments/a", weighted(addrA, 5))
				etcd.put(overrideKey("a"), `{"weight":2}`)
				etcd.put(configKey, p2c)
				for i, prefix := range order {
					etcd.onGetOf(prefix, func() error { <-time.After(time.Duration(i) * 100 * time.Millisecond); return nil })
				}
				cc := &fakeCC{onUpdate: func(s resolver.State) error {
					if len(s.Endpoints) != 1 || s.ServiceConfig == nil {
						t.Error("an update without all of it")
					}
					return nil
				}}
				cc.dial(t, etcd.builder(t, withOverrides, WithServiceConfig("")), "payments")
				pass(199 * time.Millisecond)
				require.Zero(t, cc.updates())
				pass(time.Millisecond)
				require.Equal(t, 1, cc.updates(), "as soon as all is there")
				require.Equal(t, uint32(2), cc.attrs(addrA).Weight)
				require.Equal(t, p2c, cc.config())
				pass(time.Minute)
				require.Equal(t, 1, cc.updates())
			})
		})
	}
}

func TestStart_ForAnEmptyServiceTooIsTheErrorSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		cc := dial(t, etcd.builder(t, withOverrides, WithServiceConfig("")), "payments")
		pass(time.Second)
		require.Len(t, cc.errs, 1)
		require.Contains(t, cc.lastError(), "no instances registered")
	})
}
