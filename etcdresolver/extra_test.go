package etcdresolver

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/resolver"
)

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

func TestStart_WhatFailsIsAskedForAgainAndAgain(t *testing.T) {
	const instances, overrides = "payments/", "steelyard/overrides/payments/"
	for name, c := range map[string]struct {
		of   string
		err  error
		wait float64 // in seconds, on average
	}{
		"instances denied": {instances, rpctypes.ErrPermissionDenied, 5. / 2},
		"an extra broken":  {overrides, errors.New("on fire"), 30. / 2},
		"an extra denied":  {overrides, rpctypes.ErrPermissionDenied, 30},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				etcd.put("payments/a", addrA)
				dialAndWait(t, etcd.builder(t, withOverrides))
				var asked atomic.Int64
				etcd.onGetOf(c.of, func() error { asked.Add(1); return c.err })
				etcd.watchOf(c.of).finish()
				pass(10 * time.Minute) // waits are as long as they get
				asked.Store(0)
				pass(3 * time.Hour)
				require.InEpsilon(t, 3*3600/c.wait, asked.Load(), 0.2)
			})
		})
	}
}

func TestStart_APermissionThatComesSoonIsSeenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 5))
		etcd.put(overrideKey("a"), `{"weight":2}`)
		etcd.onGetOf("steelyard/", func() error { return rpctypes.ErrPermissionDenied })
		cc := dial(t, etcd.builder(t, withOverrides), "payments")
		pass(time.Second)
		require.Equal(t, uint32(5), cc.attrs(addrA).Weight)
		etcd.failGets(nil)
		pass(2 * maxBackoff)
		require.Equal(t, uint32(2), cc.attrs(addrA).Weight)
	})
}
