package etcdresolver

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// untilAudit is longer than any wait for an audit.
const untilAudit = auditInterval * 6 / 5

// unheard makes changes that the watches are not told of.
func (e *fakeEtcd) unheard(changes ...change) {
	e.mu.Lock()
	watches := e.watches
	e.watches = nil
	e.mu.Unlock()
	e.commit(changes...)
	e.mu.Lock()
	e.watches = watches
	e.mu.Unlock()
}

func only(t *testing.T, b *Builder) Stats {
	t.Helper()
	all := b.Stats()
	require.Len(t, all, 1)
	return all[0]
}

func TestAudit_MendsWhatTheWatchMissed(t *testing.T) {
	for name, c := range map[string]struct {
		missed      []change
		want        string
		differences int64
	}{
		"nothing":        {nil, addrA + " " + addrB, 0},
		"a new key":      {[]change{{"payments/c", addrC}}, addrA + " " + addrB + " " + addrC, 1},
		"a changed key":  {[]change{{"payments/b", addrC}}, addrA + " " + addrC, 1},
		"a deleted key":  {[]change{{key: "payments/b"}}, addrA, 1},
		"one of each":    {[]change{{key: "payments/a"}, {"payments/b", addrD}, {"payments/c", addrC}}, addrC + " " + addrD, 3},
		"what is no key": {[]change{{"payments/eu/c", addrC}}, addrA + " " + addrB, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd, logs := newFakeEtcd(), &logLines{}
				etcd.commit(change{"payments/a", addrA}, change{"payments/b", addrB})
				b := etcd.builder(t, WithLogger(logs.logger()))
				cc := dialAndWait(t, b)
				if c.missed != nil {
					etcd.unheard(c.missed...)
				}
				pass(untilAudit + settle)
				require.Equal(t, c.want, cc.addrs())
				stats := only(t, b)
				require.EqualValues(t, 1, stats.Audits)
				require.Equal(t, c.differences, stats.AuditDifferences)
				require.Len(t, logs.with("level=ERROR"), int(min(c.differences, 1)))
				_, watches, _ := etcd.counts()
				require.Equal(t, 1, watches, "the watch goes on")

				updates := cc.updates()
				pass(untilAudit)
				require.EqualValues(t, 2, only(t, b).Audits)
				require.Equal(t, c.differences, only(t, b).AuditDifferences, "mended for good")
				require.Equal(t, updates, cc.updates())

				etcd.put("payments/z", "10.0.0.9:80")
				pass(settle)
				require.Contains(t, cc.addrs(), "10.0.0.9:80")
			})
		})
	}
}

// What changes while the list is under way, and before the watch confirms it, is no
// difference.
func TestAudit_FindsNothingUnderConstantChurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		for i := range 20 {
			etcd.put(fmt.Sprintf("payments/%02d", i), fmt.Sprintf("10.0.0.%d:80", i))
		}
		b := etcd.builder(t)
		cc := dialAndWait(t, b)
		change := func(n int) {
			key := fmt.Sprintf("payments/%02d", n%20)
			if n%3 == 0 {
				etcd.delete(key)
			}
			etcd.put(key, weighted(fmt.Sprintf("10.0.0.%d:80", n%20), 1+n%7))
		}
		etcd.mu.Lock()
		etcd.onGet = func(n int, _ clientv3.Op) error {
			change(n)
			<-time.After(50 * time.Millisecond)
			change(n + 1)
			return nil
		}
		etcd.mu.Unlock()
		for n := range 13 * 60 { // for at least two audits
			change(n)
			pass(time.Second)
		}
		pass(time.Minute)
		require.GreaterOrEqual(t, only(t, b).Audits, int64(2))
		require.Zero(t, only(t, b).AuditDifferences)
		require.Len(t, cc.state().Endpoints, 20)
	})
}

func TestAudit_EventsWaitForTheListAndCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		cc := dialAndWait(t, b)
		asked := make(chan struct{})
		etcd.mu.Lock()
		etcd.onGet = func(int, clientv3.Op) error {
			close(asked)
			<-time.After(auditTimeout / 2)
			return nil
		}
		etcd.mu.Unlock()
		<-asked
		etcd.put("payments/b", addrB)
		pass(auditTimeout / 4)
		require.Equal(t, addrA, cc.addrs())
		pass(auditTimeout/2 + settle)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		require.Zero(t, only(t, b).AuditDifferences)
	})
}

func TestAudit_IsSpreadOverTime(t *testing.T) {
	var waits []time.Duration
	for range 1000 {
		waits = append(waits, nearly(auditInterval))
	}
	require.GreaterOrEqual(t, slices.Min(waits), 4*time.Minute)
	require.LessOrEqual(t, slices.Max(waits), 6*time.Minute)
	require.Greater(t, slices.Max(waits)-slices.Min(waits), time.Minute, "not all clients at once")
}
