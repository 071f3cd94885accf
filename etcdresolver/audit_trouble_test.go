package etcdresolver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/etcdregistry"
)

// onAudit has f called once, with the first list after the one under way.
func (e *fakeEtcd) onAudit(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onGet = func(n int, _ clientv3.Op) error {
		if n == 2 {
			f()
		}
		return nil
	}
}

func TestAudit_OfAWatchThatEndedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		cc := dialAndWait(t, b)
		etcd.onAudit(func() {
			etcd.setMute(true) // nothing tells the watch that it has what the list has
			etcd.unheard(change{"orders/x", addrC})
		})
		pass(untilAudit)
		etcd.unheard(change{"payments/b", addrB})
		etcd.last().finish()
		etcd.setMute(false)
		pass(minBackoff + progressInterval + settle)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		require.Zero(t, only(t, b).Audits)
		require.Zero(t, only(t, b).AuditDifferences, "the old list knows less than the new one")
	})
}

func TestAudit_TheWatchdogGoesOnAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		dialAndWait(t, b)
		audited := make(chan struct{})
		etcd.onAudit(func() { etcd.setMute(true); close(audited) })
		<-audited
		pass(silenceLimit)
		require.EqualValues(t, 1, only(t, b).Sessions["silent"])
	})
}

func TestAudit_OfAHangingEtcdDelaysAndEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		b := etcd.builder(t, WithLogger(logs.logger()))
		cc := dialAndWait(t, b)
		asked := make(chan struct{})
		etcd.mu.Lock()
		etcd.onGet = func(n int, _ clientv3.Op) error {
			if n == 2 {
				close(asked)
			}
			return errHang
		}
		etcd.mu.Unlock()
		<-asked
		etcd.put("payments/b", addrB)
		pass(auditTimeout + settle)
		require.Equal(t, addrA+" "+addrB, cc.addrs(), "for a second")
		pass(time.Hour)
		_, watches, _ := etcd.counts()
		require.Equal(t, 1, watches)
		require.Zero(t, only(t, b).Audits)
		require.Empty(t, logs.with("level=WARN"))
	})
}

// A list of another history is no list to compare with: that etcd was restored is
// no difference.
func TestAudit_OfAnotherHistoryIsANewStart(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(*fakeEtcd)
		want    string
	}{
		"restored":        {func(etcd *fakeEtcd) { etcd.restore(2) }, addrA},
		"another cluster": {func(etcd *fakeEtcd) { etcd.replace(); etcd.unheard(change{"payments/z", addrC}) }, addrC},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				etcd.put("payments/a", addrA)
				etcd.put("payments/b", addrB)
				b := etcd.builder(t, WithShrinkGuard(0))
				cc := dialAndWait(t, b)
				// Just before the audit, so that no progress answer tells first.
				asked := make(chan struct{})
				etcd.mu.Lock()
				etcd.onGet = func(n int, _ clientv3.Op) error {
					if n == 2 {
						c.happens(etcd)
						close(asked)
					}
					return nil
				}
				etcd.mu.Unlock()
				<-asked
				pass(minBackoff)
				require.Equal(t, c.want, cc.addrs())
				require.EqualValues(t, 1, only(t, b).Sessions["history"])
				require.Zero(t, only(t, b).AuditDifferences)
			})
		})
	}
}

func TestAudit_ThatTakesLongEndsNoWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := filledEtcd(300) // nearly 40 pages
		etcd.onGet = func(_ int, op clientv3.Op) error {
			if op.Limit() > 10 {
				return status.Error(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)")
			}
			<-time.After(auditTimeout * 2 / 5)
			return nil
		}
		b := etcd.builder(t, WithDecoder(func(key string, _ []byte) (etcdregistry.Instance, error) {
			return etcdregistry.Instance{Addr: key}, nil
		}))
		dial(t, b, "payments")
		pass(untilAudit + time.Minute)
		require.EqualValues(t, 1, only(t, b).Audits)
		require.Empty(t, only(t, b).Sessions)
	})
}
