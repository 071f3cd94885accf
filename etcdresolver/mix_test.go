package etcdresolver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

// mix makes changes and faults at random.
type mix struct {
	*rand.Rand
	etcd *fakeEtcd
	conn *fakeConn
}

func (m *mix) change() change {
	id, addr := m.IntN(8), fmt.Sprintf("10.0.0.%d:80", m.IntN(8))
	switch m.IntN(8) {
	case 0:
		return change{key: fmt.Sprint("payments/", id)}
	case 1:
		return change{overrideKey(fmt.Sprint(id)), fmt.Sprintf(`{"weight":%d}`, m.IntN(4))}
	case 2:
		return change{key: overrideKey(fmt.Sprint(id))}
	case 3:
		return change{configKey, []string{p2c, weightedC, ""}[m.IntN(3)]}
	case 4:
		return change{fmt.Sprint("orders/", id), addr}
	default:
		return change{fmt.Sprint("payments/", id), weighted(addr, m.IntN(5))}
	}
}

// fault makes one, or ends all.
func (m *mix) fault() {
	switch etcd := m.etcd; m.IntN(12) {
	case 0:
		etcd.unheard(m.change(), change{"payments/unheard", addrC})
	case 1:
		etcd.last().finish()
	case 2:
		etcd.last().send(clientv3.WatchResponse{Canceled: true, CompactRevision: etcd.now()})
	case 3:
		etcd.compact(etcd.now())
	case 4:
		etcd.setMute(true)
	case 5:
		etcd.failGets(errHang)
	case 6:
		etcd.failGets(errors.New("down"))
	case 7:
		etcd.noMajority(errHang)
	case 8:
		etcd.compact(0)
		etcd.restore(max(1, etcd.now()-m.Int64N(10)))
		m.conn.reconnect()
	case 9:
		etcd.compact(0)
		etcd.replace()
		m.conn.reconnect()
	default:
		m.heal()
	}
}

func (m *mix) heal() {
	m.etcd.setMute(false)
	m.etcd.failGets(nil)
}

// Whatever happened in whatever order, a channel ends up with what a new one gets.
func TestMix_EndsInWhatStandsInEtcd(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &mix{rand.New(rand.NewPCG(seed, 0)), newFakeEtcd(), newFakeConn(connectivity.Ready)}
				opts := []Option{withOverrides, WithServiceConfig("")}
				b := m.etcd.builderWith(newLink(m.conn), opts...)
				m.etcd.put("payments/0", addrA)
				cc := dialAndWait(t, b)
				for range 150 {
					if m.IntN(5) == 0 {
						m.fault()
					} else {
						m.etcd.commit(m.change())
					}
					if m.IntN(40) == 0 {
						cc.resolver.Close()
						cc = dial(t, b, "payments")
					}
					pass(time.Duration(m.ExpFloat64() * float64(time.Second)))
				}
				m.heal()
				pass(untilAudit + defaultEmptyHold + maxExtraBackoff)

				fresh := dial(t, m.etcd.builderWith(nil, opts...), "payments")
				synctest.Wait()
				require.Equal(t, fresh.addrs(), cc.addrs())
				for _, e := range fresh.state().Endpoints {
					addr := e.Addresses[0].Addr
					require.Equal(t, fresh.attrs(addr), cc.attrs(addr))
				}
				if len(fresh.states) > 0 { // an empty list comes without its config
					require.Equal(t, fresh.config(), cc.config())
				}
				require.Equal(t, fresh.lastError() == "", only(t, b).Endpoints > 0)
				require.Equal(t, Synced, only(t, b).State)
			})
		})
	}
}
