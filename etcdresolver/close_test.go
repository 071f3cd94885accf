package etcdresolver

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/resolver"
)

func TestService_CloseAtAnyMoment(t *testing.T) {
	for name, prepare := range map[string]func(*fakeEtcd){
		"in a list that hangs": func(etcd *fakeEtcd) { etcd.failGets(errHang) },
		"in a wait":            func(etcd *fakeEtcd) { etcd.failGets(errors.New("down")) },
		"in a watch call that hangs": func(etcd *fakeEtcd) {
			etcd.onWatch = func(_ int, w *fakeWatch) { <-w.ctx.Done() }
		},
		"in a quiet watch": func(*fakeEtcd) {},
		"in a list of one member": func(etcd *fakeEtcd) {
			etcd.onGet = func(_ int, op clientv3.Op) error {
				if op.IsSerializable() {
					return errHang
				}
				return errors.New("down")
			}
		},
		"while the overrides hang": func(etcd *fakeEtcd) { etcd.onGetOf("steelyard/overrides/", func() error { return errHang }) },
		"while the config waits":   func(etcd *fakeEtcd) { etcd.onGetOf("steelyard/config/", func() error { return errors.New("down") }) },
		"while a guard holds": func(etcd *fakeEtcd) {
			etcd.onWatch = func(n int, _ *fakeWatch) {
				if n == 1 {
					etcd.delete("payments/a")
				}
			}
		},
		"in a debounce": func(etcd *fakeEtcd) {
			etcd.onWatch = func(int, *fakeWatch) { etcd.put("payments/b", addrB) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				etcd.put("payments/a", addrA)
				prepare(etcd)
				b := etcd.builder(t, withOverrides, WithServiceConfig(""))
				cc := dialAndWait(t, b)
				began := time.Now()
				cc.resolver.Close()
				synctest.Wait()
				require.Zero(t, time.Since(began))
				if name != "in a watch call that hangs" { // etcd's client would keep its stream
					require.Zero(t, etcd.live())
				}
				updates := cc.updates()
				cc.resolver.ResolveNow(resolver.ResolveNowOptions{})
				etcd.put("payments/c", addrC)
				pass(openLimit)
				require.Zero(t, etcd.live())
				pass(time.Minute)
				require.Equal(t, updates, cc.updates())
				require.Equal(t, Idle, only(t, b).State)
			})
		})
	}
}

// Build and Close come from many goroutines; the invariant is one loop at most,
// and none in the end.
func TestService_OpenAndCloseUnderChurn(t *testing.T) {
	etcd := newFakeEtcd()
	etcd.put("payments/a", addrA)
	b := etcd.builder(t, WithDebounce(0))
	ctx, cancel := context.WithCancel(t.Context())
	var churn, dialers sync.WaitGroup
	churn.Go(func() {
		for i := 1; ctx.Err() == nil && i < 5000; i++ {
			etcd.put("payments/a", weighted(addrA, i))
			if _, watches, _ := etcd.counts(); i%50 == 0 && watches > 0 {
				etcd.last().finish()
			}
		}
	})
	for range 8 {
		dialers.Go(func() {
			for range 50 {
				r, err := b.Build(target(t, "etcd:///payments"), &fakeCC{}, resolver.BuildOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				r.ResolveNow(resolver.ResolveNowOptions{})
				r.Close()
			}
		})
	}
	dialers.Wait()
	cancel()
	churn.Wait()
	require.Eventually(t, func() bool { return etcd.live() == 0 }, 5*time.Second, time.Millisecond)
}

func TestService_CloseInAnAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		cc := dialAndWait(t, b)
		asked := make(chan struct{})
		etcd.mu.Lock()
		etcd.onGet = func(int, clientv3.Op) error { close(asked); return errHang }
		etcd.mu.Unlock()
		<-asked
		began := time.Now()
		cc.resolver.Close()
		synctest.Wait()
		require.Zero(t, time.Since(began))
		require.Zero(t, etcd.live())
	})
}

// A request may come back after it was cancelled, with what was true then. By now the
// next run knows better.
func TestService_ALateListUndoesNothing(t *testing.T) {
	for name, late := range map[string]int{"the first": 1, "of an audit": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				etcd.put("payments/a", addrA)
				asked, release := make(chan struct{}), make(chan struct{})
				deaf := &deafEtcd{fakeEtcd: etcd, late: late, asked: asked, release: release}
				b := newBuilder(&given{store: deaf}, []Option{WithLogger((&logLines{}).logger()), WithoutOverrides(), WithShrinkGuard(0), WithEmptyGuard(0)})
				old := dial(t, b, "payments")
				<-asked
				old.resolver.Close()
				etcd.delete("payments/a")
				etcd.put("payments/b", addrB)
				cc := dialAndWait(t, b)
				require.Equal(t, addrB, cc.addrs())
				before := only(t, b)
				close(release)
				pass(time.Minute)
				require.Equal(t, addrB, cc.addrs())
				require.Equal(t, before.Lists, only(t, b).Lists)
				require.Equal(t, before.Revision, only(t, b).Revision)
			})
		})
	}
}

// deafEtcd holds one of its answers back, and minds no cancelling.
type deafEtcd struct {
	*fakeEtcd
	late           int
	asked, release chan struct{}
}

func (e *deafEtcd) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	response, err := e.fakeEtcd.Get(ctx, key, opts...)
	if gets, _, _ := e.counts(); gets == e.late {
		close(e.asked)
		<-e.release
	}
	return response, err
}

// gRPC's policies may ask for a new list from within the update, and a channel may be
// closed there.
func TestService_UpdatesMayCallBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		cc, built := &fakeCC{}, make(chan struct{})
		cc.onUpdate = func(s resolver.State) error {
			<-built
			cc.resolver.ResolveNow(resolver.ResolveNowOptions{})
			b.Stats()
			(&fakeCC{}).dial(t, b, "payments")
			if len(s.Endpoints) > 1 {
				cc.resolver.Close()
			}
			return nil
		}
		cc.dial(t, b, "payments")
		close(built)
		synctest.Wait()
		etcd.put("payments/b", addrB)
		pass(settle)
		require.Equal(t, 2, cc.updates())
		etcd.put("payments/c", addrC)
		pass(settle)
		require.Equal(t, 2, cc.updates())
		require.Equal(t, 2, only(t, b).Channels)
	})
}
