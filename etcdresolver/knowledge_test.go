package etcdresolver

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/etcdregistry"
)

func TestKnowledge_RemembersRefusalsOnlyWhileTheyStand(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(etcd *fakeEtcd, key, good string)
		stand int // overrides after that
	}{
		"deleted":       {func(etcd *fakeEtcd, key, _ string) { etcd.delete(key) }, 0},
		"good at last":  {func(etcd *fakeEtcd, key, good string) { etcd.put(key, good) }, 100},
		"seen by lists": {func(etcd *fakeEtcd, key, _ string) { etcd.unheard(change{key: key}) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				b := etcd.builder(t, withOverrides, WithServiceConfig(""))
				cc := dialAndWait(t, b)
				good := map[string]string{configKey: p2c}
				for i := range 100 {
					good[fmt.Sprint("payments/", i)] = addrA
					good[overrideKey(fmt.Sprint(i))] = `{"weight":5}`
				}
				for key := range good {
					etcd.put(key, "nonsense")
				}
				etcd.put("payments/a", addrA) // for the channel to look at the config
				pass(settle)
				require.EqualValues(t, len(good), only(t, b).Refused)
				for key, value := range good {
					c.end(etcd, key, value)
				}
				pass(untilAudit)
				cc.resolver.Close()
				synctest.Wait()
				k := b.services[serviceKey{name: "payments"}].known
				require.Empty(t, k.refused)
				content, ok := k.overrides.content.(judged)
				require.True(t, ok)
				o, ok := content.content.(*overrides)
				require.True(t, ok)
				require.Len(t, o.created, c.stand)
			})
		})
	}
}

// Channels take their time, each as its policy lets it.
func TestKnowledge_WhatAChannelSaysLateOfAnOlderConfigIsNoNews(t *testing.T) {
	opts := newOptions(nil)
	logs := &logLines{}
	k := newKnowledge("payments", opts, logs.logger())
	for _, revision := range []int64{5, 5, 6, 5, 6} {
		k.refuseConfig(&configText{key: etcdregistry.ConfigKey("payments"), revision: revision}, errors.New("bad"), true)
	}
	require.Len(t, logs.with("value refused"), 2)
	require.EqualValues(t, 2, k.counts.Refused)
}
