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
	for name, end := range map[string]func(etcd *fakeEtcd, key, good string){
		"deleted":       func(etcd *fakeEtcd, key, _ string) { etcd.delete(key) },
		"good at last":  func(etcd *fakeEtcd, key, good string) { etcd.put(key, good) },
		"seen by lists": func(etcd *fakeEtcd, key, _ string) { etcd.unheard(change{key: key}) },
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
					end(etcd, key, value)
				}
				pass(untilAudit)
				cc.resolver.Close()
				synctest.Wait()
				k := b.services[serviceKey{name: "payments"}].known
				for _, r := range []*replica{k.instances, k.overrides, k.configs} {
					require.Empty(t, r.refused)
				}
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
