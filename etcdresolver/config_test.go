package etcdresolver

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/etcdregistry"
)

const (
	configKey = "steelyard/config/payments"
	p2c       = `{"loadBalancingConfig":[{"steelyard_p2c":{}}]}`
	weightedC = `{"loadBalancingConfig":[{"steelyard_weighted":{}}]}`
)

func TestConfig_IsFollowedLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		cc := dial(t, etcd.builder(t, WithServiceConfig(""), WithLogger(logs.logger())), "payments")
		synctest.Wait()

		for i, step := range []struct {
			name, value string // "" deletes
			want        string
			update      bool
			refused     bool
		}{
			{"put", p2c, p2c, true, false},
			{"the same again", p2c, p2c, false, false},
			{"another", weightedC, weightedC, true, false},
			{"bad", "{", weightedC, true, true},
			{"the same bad one again", "{", weightedC, false, false},
			{"another bad one", "}", weightedC, true, true},
			{"too long", strings.Repeat(" ", etcdregistry.MaxValueSize) + "{}", weightedC, false, true},
			{"back to the one before", weightedC, weightedC, true, false},
			{"back to the first", p2c, p2c, true, false},
			{"removed", "", "none", true, false},
			{"bad from the start", "{", "none", true, true},
			{"good at last", p2c, p2c, true, false},
		} {
			updates, refused := cc.updates(), len(logs.with("value refused"))
			etcd.put(configKey, step.value)
			pass(settle)
			require.Equal(t, step.want, cc.config(), "%d: %s", i, step.name)
			require.Equal(t, addrA, cc.addrs(), "%d: %s", i, step.name)
			require.Equal(t, step.update, cc.updates() > updates, "%d: %s", i, step.name)
			require.Equal(t, step.refused, len(logs.with("value refused")) > refused, "%d: %s", i, step.name)
		}
	})
}

func TestConfig_ABadOneIsLoggedOnceForAllChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		etcd.put(configKey, p2c)
		b := etcd.builder(t, WithServiceConfig(""), WithLogger(logs.logger()))
		var channels []*fakeCC
		for range 100 {
			channels = append(channels, dial(t, b, "payments"))
		}
		synctest.Wait()
		etcd.put(configKey, "nonsense")
		pass(settle)
		for _, cc := range channels {
			require.Equal(t, p2c, cc.config())
			require.Equal(t, 2, cc.parsed)
		}
		refused := logs.with("value refused")
		require.Len(t, refused, 1)
		require.Contains(t, refused[0], "key="+configKey)
		require.Contains(t, refused[0], "service config: fake: not JSON")
		require.Contains(t, refused[0], "last_good_kept=true")

		late := dial(t, b, "payments")
		synctest.Wait()
		require.Equal(t, addrA, late.addrs(), "it costs no channel its list")
		require.Equal(t, "none", late.config(), "it never saw the good one")
		require.Len(t, logs.with("value refused"), 1)

		etcd.put("payments/b", addrB)
		pass(settle)
		require.Equal(t, 2, channels[0].parsed, "parsed once, not with each list")
	})
}

func TestConfig_OneTooLongNamesItsLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		etcd.put(configKey, strings.Repeat(" ", etcdregistry.MaxValueSize+1))
		cc := dial(t, etcd.builder(t, WithServiceConfig(""), WithLogger(logs.logger())), "payments")
		synctest.Wait()
		require.Equal(t, "none", cc.config())
		require.Len(t, logs.with("service config: got 65537 bytes, want at most 65536"), 1)
		etcd.watchOf(configKey).finish()
		pass(maxExtraBackoff)
		require.Len(t, logs.with("value refused"), 1, "the list shows it again")
	})
}

func TestConfig_AChannelThatJoinsLaterGetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.put(configKey, p2c)
		b := etcd.builder(t, WithServiceConfig(""))
		first := dialAndWait(t, b)
		require.Equal(t, p2c, dialAndWait(t, b).config())
		etcd.put(configKey, weightedC)
		pass(settle)
		require.Equal(t, weightedC, dialAndWait(t, b).config())
		require.Equal(t, weightedC, first.config())
	})
}

func TestConfig_AWakingChannelStartsWithTheOneRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.put(configKey, p2c)
		b := etcd.builder(t, WithServiceConfig(""))
		dialAndWait(t, b).resolver.Close()
		etcd.failGets(errHang)
		require.Equal(t, p2c, dialAndWait(t, b).config())
	})
}

func TestConfig_AKeyOfOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.put(configKey, weightedC)
		etcd.put("settings/lb", p2c)
		etcd.put("settings/lb2", weightedC)
		cc := dial(t, etcd.builder(t, WithServiceConfig("settings/lb")), "payments")
		synctest.Wait()
		require.Equal(t, p2c, cc.config())
		etcd.put("settings/lb0", weightedC)
		pass(settle)
		require.Equal(t, p2c, cc.config(), "a neighbour")
	})
}

func TestConfig_ABadOneAmongTheInstancesIsRefusedAsBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		etcd.put("payments/config", "{")
		b := etcd.builder(t, WithServiceConfig("payments/config"), WithLogger(logs.logger()))
		dialAndWait(t, b)
		require.Len(t, logs.with("error=\"service config: "), 1)
		require.Len(t, logs.with("error=\"etcd key \\\"payments/config\\\": "), 1)
		require.EqualValues(t, 2, only(t, b).Refused)
	})
}

func TestConfig_IsNotFollowedUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.put(configKey, p2c)
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		require.Equal(t, "none", cc.config())
	})
}

// A list shows it: the key has another create revision. So does a watch that tells of
// both at once.
func TestConfig_AKeyMadeAnewKeepsNothingOfTheOld(t *testing.T) {
	relist := func(etcd *fakeEtcd) { etcd.watchOf(configKey).finish(); pass(maxExtraBackoff) }
	for name, anew := range map[string]func(etcd *fakeEtcd, value string){
		"unseen": func(etcd *fakeEtcd, value string) {
			etcd.unheard(change{key: configKey})
			etcd.unheard(change{configKey, value})
			relist(etcd)
		},
		"between two updates": func(etcd *fakeEtcd, value string) {
			etcd.delete(configKey)
			etcd.put(configKey, value)
			pass(settle)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd, logs := newFakeEtcd(), &logLines{}
				etcd.put("payments/a", addrA)
				etcd.put(configKey, p2c)
				cc := dial(t, etcd.builder(t, WithServiceConfig(""), WithLogger(logs.logger())), "payments")
				pass(settle)
				for i, bad := range []string{"{", strings.Repeat(" ", etcdregistry.MaxValueSize) + "{}"} {
					anew(etcd, bad)
					require.Equal(t, "none", cc.config(), "as if both had been seen")
					require.Len(t, logs.with("last_good_kept=false"), i+1)
					etcd.put(configKey, p2c)
					pass(settle)
					require.Equal(t, p2c, cc.config())
				}
				anew(etcd, p2c)
				etcd.put(configKey, "{")
				pass(settle)
				require.Equal(t, p2c, cc.config(), "the same text, but of this key: it is the last good one")
				require.Len(t, logs.with("last_good_kept=true"), 1)
			})
		})
	}
}
