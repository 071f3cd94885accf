package etcdresolver

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/steelyard-go/steelyard/attrs"
)

func TestSession_SaysTheAttributesOnEndpointAndAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", `{"Addr":"10.0.0.1:80","Metadata":{"weight":5,"zone":"eu-1a","version":"1.4"}}`)
		cc := dial(t, etcd.builder(t, WithZone("eu-1b")), "payments")
		synctest.Wait()

		want := attrs.Attrs{Weight: 5, Zone: "eu-1a", Labels: map[string]string{"version": "1.4"}}
		state := cc.state()
		require.Equal(t, want, attrs.FromEndpoint(state.Endpoints[0]))
		require.Equal(t, want, attrs.FromAddress(state.Endpoints[0].Addresses[0]))
		require.Len(t, state.Addresses, 1)
		require.Equal(t, addrA, state.Addresses[0].Addr)
		require.Equal(t, want, attrs.FromAddress(state.Addresses[0]))
		require.Nil(t, state.Addresses[0].Attributes, "a change would cost a connection")
		require.Equal(t, "eu-1b", attrs.LocalZone(state))

		etcd.put("payments/a", weighted(addrA, 7))
		pass(settle)
		require.Equal(t, uint32(7), cc.attrs(addrA).Weight)
		require.Equal(t, uint32(5), attrs.FromEndpoint(state.Endpoints[0]).Weight, "what gRPC holds is never modified")
	})
}

func TestSession_EmptyServiceIsAClearError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/eu/a", addrA)
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		require.Equal(t, "etcd:///payments: no instances registered under payments/ in etcd at [etcd-1:2379]", cc.lastError())
		require.Zero(t, cc.updates(), "an error alone: an update would hide its text for a moment")

		etcd.put("payments/a", addrA)
		pass(settle)
		require.Equal(t, addrA, cc.addrs())

		etcd.delete("payments/a")
		pass(defaultEmptyHold + settle)
		require.Equal(t, 2, cc.updates())
		require.Empty(t, cc.state().Endpoints, "an error alone would leave the old endpoints")
		require.Len(t, cc.errs, 2)

		etcd.put("payments/b", "nonsense")
		pass(settle)
		require.Contains(t, cc.lastError(), `(1 refused: etcd key "payments/b": `)
	})
}

func TestSession_RefusedValueKeepsTheLastGoodOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", weighted(addrA, 3))
		etcd.put("payments/b", weighted(addrB, 1))
		cc := dial(t, etcd.builder(t, WithLogger(logs.logger())), "payments")
		synctest.Wait()

		etcd.put("payments/a", "{}")
		etcd.put("payments/b", weighted(addrB, 2))
		etcd.put("payments/c", "{}")
		pass(settle)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		require.Equal(t, uint32(3), cc.attrs(addrA).Weight)
		require.Equal(t, uint32(2), cc.attrs(addrB).Weight)
		require.Len(t, logs.with("value refused"), 2)

		etcd.last().finish() // the list shows the same revisions again
		pass(settle)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		require.Len(t, logs.with("value refused"), 2)
		require.Len(t, logs.with("last_good_kept=true"), 1)

		etcd.put("payments/a", "{")
		pass(settle)
		require.Len(t, logs.with("value refused"), 3, "another revision")

		etcd.delete("payments/a")
		etcd.put("payments/a", "{")
		pass(settle)
		require.Equal(t, addrB, cc.addrs(), "the key that had the good value is gone")
	})
}

func TestSession_DecoderOfOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		etcd.put("payments/b", "")
		etcd.mu.Lock() // the fake takes an empty value for a delete
		etcd.history[1].Type = mvccpb.Event_PUT
		etcd.history[1].Kv.CreateRevision = 3
		etcd.mu.Unlock()
		cc := dial(t, etcd.builder(t, WithDecoder(bare), WithLogger(logs.logger())), "payments")
		synctest.Wait()
		require.Equal(t, addrA, cc.addrs())
		require.Len(t, logs.with("payments/b"), 1)
		require.Contains(t, logs.with("payments/b")[0], "without an address")
	})
}
