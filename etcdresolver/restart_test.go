package etcdresolver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStart_AServiceThatWasEmptyStartsWithoutAMajorityToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		b := etcd.builder(t)
		cc := dialAndWait(t, b)
		require.Contains(t, cc.lastError(), "no instances registered")
		cc.resolver.Close() // or the channel falls idle
		synctest.Wait()
		etcd.put("payments/a", addrA)
		etcd.noMajority(errHang)
		cc = dial(t, b, "payments")
		pass(time.Second)
		require.Equal(t, addrA, cc.addrs(), cc.lastError())
	})
}
