package etcdresolver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/etcdregistry"
)

// As the names of members that cannot be reached take turns in the text.
func TestLog_OneOutageIsOneWarningAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.onGet = func(n int, _ clientv3.Op) error { return fmt.Errorf("%w: member %d", errUnreachable, n) }
		dial(t, etcd.builder(t, WithLogger(logs.logger())), "payments")
		warnings := func() int { return len(logs.with("level=WARN msg=\"etcdresolver: degraded")) }
		pass(lineInterval)
		require.Equal(t, 1, warnings())
		pass(9 * lineInterval)
		require.InDelta(t, 9, warnings(), 1)
		etcd.failGets(errHang)
		pass(time.Minute / 2)
		require.NotEmpty(t, logs.with("level=WARN msg=\"etcdresolver: degraded\" service=payments what=instances cause=\"no answer within 5s"), "of another kind")
	})
}

func TestLog_TroublesThatTakeTurnsAreOneWarningAMinuteEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		troubles := []error{errUnreachable, rpctypes.ErrInvalidAuthToken}
		etcd.onGet = func(n int, op clientv3.Op) error {
			if !op.IsSerializable() {
				slices.Reverse(troubles)
			}
			return fmt.Errorf("%w: member %d", troubles[0], n)
		}
		dial(t, etcd.builder(t, WithLogger(logs.logger())), "payments")
		pass(10 * lineInterval)
		require.InDelta(t, 2*10, len(logs.with("level=WARN msg=\"etcdresolver: degraded")), 2)
	})
}

func TestLog_ATroubleThatFollowsAnotherOfItsKindIsSaidInTime(t *testing.T) {
	refused, expired := fmt.Errorf("%w: connection refused", errUnreachable), fmt.Errorf("%w: certificate has expired", errUnreachable)
	busy, corrupt := errors.New("etcdserver: too many requests"), errors.New("etcdserver: corrupt cluster") // of no kind
	for name, c := range map[string]struct {
		first error
		then  []error // in turn
	}{
		"it lasts":                     {refused, []error{expired}},
		"they take turns":              {refused, []error{expired, refused}},
		"nobody knows them":            {busy, []error{corrupt}},
		"nobody knows them, it is one": {busy, []error{busy, busy, busy, corrupt}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd, logs := newFakeEtcd(), &logLines{}
				etcd.put("payments/a", addrA)
				dialAndWait(t, etcd.builder(t, WithLogger(logs.logger())))
				pass(time.Minute)
				etcd.failGets(c.first)
				etcd.last().finish()
				pass(lineInterval / 3)
				turn := 0
				etcd.onGetOf("payments/", func() error { turn++; return c.then[turn%len(c.then)] })
				pass(lineInterval)
				for _, err := range append(c.then, c.first) {
					require.Len(t, logs.with(fmt.Sprintf("level=WARN msg=\"etcdresolver: degraded\" service=payments what=instances cause=%q", err)), 1)
				}
			})
		})
	}
}

func TestLog_TroubleAfterHealthIsNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		dialAndWait(t, etcd.builder(t, WithLogger(logs.logger())))
		for i, step := range []struct {
			after time.Duration
			lines int // of each kind
		}{{0, 1}, {time.Second, 1}, {2 * healthyAfter, 2}, {time.Second, 2}, {lineInterval, 3}} {
			pass(step.after)
			etcd.last().finish()
			pass(time.Second)
			require.Len(t, logs.with("level=WARN msg=\"etcdresolver: degraded"), step.lines, i)
			require.Len(t, logs.with("level=INFO msg=\"etcdresolver: synced"), 1+step.lines, i)
		}
	})
}

// Whoever may write to etcd must not flood the logs of all clients.
func TestLog_FastChangesAreFewLines(t *testing.T) {
	for kind, c := range map[string]struct{ key, value, line string }{
		"override":      {overrideKey("a"), `{"weight":%d}`, "level=INFO msg=\"etcdresolver: override"},
		"value refused": {"payments/b", "nonsense %d", "level=WARN msg=\"etcdresolver: value refused"},
	} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd, logs := newFakeEtcd(), &logLines{}
				etcd.put("payments/a", addrA)
				dial(t, etcd.builder(t, withOverrides, WithLogger(logs.logger())), "payments")
				pass(settle)
				for i := range 10 * manyLines {
					etcd.put(c.key, fmt.Sprintf(c.value, i+1))
					if i%2 == 1 {
						etcd.delete(c.key)
					}
					pass(time.Millisecond)
				}
				pass(settle)
				require.Len(t, logs.with(c.line), manyLines)
				hushed := logs.with("level=WARN msg=\"etcdresolver: too many log lines")
				require.Len(t, hushed, 1, "not in silence")
				require.Contains(t, hushed[0], kind)

				pass(lineInterval)
				etcd.put(c.key, fmt.Sprintf(c.value, 7))
				pass(settle)
				require.Len(t, logs.with(c.line), manyLines+1)
			})
		})
	}
}

func TestLog_BadInstancesHideNoOtherBadValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		for i := range 2 * manyLines {
			etcd.put(fmt.Sprint("payments/bad-", i), "nonsense")
		}
		dialAndWait(t, etcd.builder(t, WithServiceConfig(""), withOverrides, WithLogger(logs.logger())))
		for i, key := range []string{overrideKey("a"), configKey} {
			etcd.put(key, "{")
			pass(settle)
			refused := logs.with("level=WARN msg=\"etcdresolver: value refused")
			require.Len(t, refused, manyLines+i+1)
			require.Contains(t, refused[manyLines+i], "key="+key)
		}
	})
}

func TestLog_OverridesOfNobodyAreNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		dial(t, etcd.builder(t, withOverrides, WithLogger(logs.logger())), "payments")
		pass(settle)
		for i := range 2 * manyLines {
			etcd.put(overrideKey("nobody"), fmt.Sprintf(`{"weight":%d}`, i+1))
			pass(time.Millisecond)
		}
		etcd.delete(overrideKey("nobody"))
		pass(settle)
		require.Empty(t, logs.with("level=INFO msg=\"etcdresolver: override"))
		for _, id := range []string{"a", addrA} {
			etcd.put(overrideKey(id), `{"weight":5}`)
			etcd.delete(overrideKey(id))
			pass(settle)
			require.Len(t, logs.with("level=INFO msg=\"etcdresolver: override\" service=payments id="+id+" weight=5"), 1)
			require.Len(t, logs.with("level=INFO msg=\"etcdresolver: override lifted\" service=payments id="+id), 1)
		}
	})
}

func TestLog_LongKeysAreCut(t *testing.T) {
	for _, decode := range []Decoder{etcdregistry.Decode, DecodeKratos, func(string, []byte) (inst etcdregistry.Instance, err error) { return }} {
		synctest.Test(t, func(t *testing.T) {
			etcd, logs := newFakeEtcd(), &logLines{}
			long := strings.Repeat("x", 1<<20)
			etcd.put("payments/"+long, "nonsense")
			etcd.put(overrideKey(long), `{"weight":5}`)
			etcd.put(overrideKey(long), "nonsense")
			cc := dial(t, etcd.builder(t, withOverrides, WithLogger(logs.logger()), WithDecoder(decode)), "payments")
			pass(settle)
			require.Len(t, logs.with("value refused"), 2)
			for _, line := range logs.with("") {
				require.Less(t, len(line), 2000)
			}
			require.Contains(t, cc.lastError(), "1 refused")
			require.Less(t, len(cc.lastError()), 2000)
		})
	}
}
