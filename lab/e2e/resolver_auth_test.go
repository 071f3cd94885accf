package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// The reader may read its service, and neither overrides nor service configs. It comes
// with a certificate and a password, by way of a builder that makes its own client.
func TestResolver_ClientThatMayReadItsServiceOnly(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ca := newCA(s)
	etcd := localetcd.Start(s, localetcd.WithTLS(ca))
	network := localetcd.StartProxy(s, etcd.Addr())
	s.etcd = etcd.Client()
	s.enableAuth(etcd.Addr(), ca)
	a, b, c := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.put(a)

	config := reader(network.Addr())
	config.TLS, config.Logger = ca.ClientConfig(), zap.NewNop()
	s.heard = &heard{}
	s.heard.Builder = etcdresolver.NewTargetBuilder(config, s.heard.log(), etcdresolver.WithServiceConfig(""))
	s.channel = s.open(s.heard, discoverService)
	s.reach(time.Second, a) // not after the last try to read an override
	s.put(b)
	s.reach(inPeace, a, b)
	s.keeps(4*time.Second, a, b)
	denied := s.stats().Sessions["denied"]
	require.GreaterOrEqual(s, denied, int64(2), "of overrides and service config")
	require.LessOrEqual(s, denied, int64(30), "they are asked for ever more seldom")
	require.Len(s, s.heard.logged("permission denied"), 2, "once for each")

	network.Cut()
	s.remove(a)
	s.put(c)
	s.keeps(time.Second, a, b)
	network.Mend()
	s.reach(afterTrouble, b, c)
}
