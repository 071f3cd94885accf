package etcdresolver

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/resolver"
)

// noMajority has etcd answer serializable lists only.
func (e *fakeEtcd) noMajority(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onGet = func(_ int, op clientv3.Op) error {
		if op.IsSerializable() {
			return nil
		}
		return err
	}
}

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

// onGetOf delays or fails the lists under a prefix.
func (e *fakeEtcd) onGetOf(prefix string, f func() error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.onGet
	e.onGet = func(n int, op clientv3.Op) error {
		if bytes.HasPrefix(op.KeyBytes(), []byte(prefix)) {
			return f()
		}
		if before != nil {
			return before(n, op)
		}
		return nil
	}
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

// What channels can do without holds them up for less than a second.
func TestStart_AFailingExtraHoldsUpNothing(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		wait time.Duration
	}{
		"denied": {rpctypes.ErrPermissionDenied, 0},
		"broken": {errors.New("on fire"), 0},
		"hangs":  {errHang, listTimeout[0] + startTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				etcd.put("payments/a", addrA)
				etcd.onGetOf("steelyard/", func() error { return c.err })
				b := etcd.builder(t, withOverrides, WithServiceConfig(""))
				cc := dial(t, b, "payments")
				pass(c.wait)
				require.Equal(t, addrA, cc.addrs())
				require.Equal(t, Synced, only(t, b).State)
			})
		})
	}
}

func TestStart_ADeniedExtraIsAskedForSlowlyAndDisturbsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", weighted(addrA, 5))
		etcd.put(overrideKey("a"), `{"weight":2}`)
		var asked atomic.Int64
		etcd.onGetOf("steelyard/", func() error { asked.Add(1); return rpctypes.ErrPermissionDenied })
		b := etcd.builder(t, withOverrides, WithLogger(logs.logger()))
		cc := dialAndWait(t, b)
		pass(10 * time.Minute) // waits are about 30 s now
		asked.Store(0)
		for range 60 * 60 {
			cc.resolver.ResolveNow(resolver.ResolveNowOptions{})
			pass(time.Second)
		}
		require.InDelta(t, 3600/30, asked.Load(), 15, "and for ever")
		require.Len(t, logs.with("permission denied"), 1)
		_, watches, _ := etcd.counts()
		require.Equal(t, 1, watches)
		require.Equal(t, 1, cc.updates())
		require.Equal(t, uint32(5), cc.attrs(addrA).Weight)
		require.Equal(t, Synced, only(t, b).State)

		etcd.failGets(nil)
		pass(maxExtraBackoff * 6 / 5)
		require.Equal(t, uint32(2), cc.attrs(addrA).Weight, "granted")
	})
}

func TestStart_AnExtraWatchThatEndsDisturbsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.put(overrideKey("a"), `{"weight":2}`)
		b := etcd.builder(t, withOverrides)
		cc := dialAndWait(t, b)
		etcd.onGetOf("steelyard/", func() error { return rpctypes.ErrPermissionDenied })
		etcd.watchOf("steelyard/overrides/payments/").finish()
		pass(time.Hour)
		require.Equal(t, 1, cc.updates())
		require.Equal(t, uint32(2), cc.attrs(addrA).Weight, "the last one known counts")
		require.Equal(t, Synced, only(t, b).State)
	})
}
