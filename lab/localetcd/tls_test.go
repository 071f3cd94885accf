//go:build unix

package localetcd_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// connect gives a client of the test's own.
func connect(t *testing.T, config clientv3.Config) *clientv3.Client {
	t.Helper()
	config.Logger = zap.NewNop()
	client, err := clientv3.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func newCA(t *testing.T) *localetcd.CA {
	t.Helper()
	ca, err := localetcd.NewCA()
	require.NoError(t, err)
	return ca
}

// refusal gives what ends a TLS connection with that config.
func refusal(t *testing.T, addr string, config *tls.Config) error {
	t.Helper()
	config.NextProtos = []string{"h2"}
	conn, err := (&tls.Dialer{Config: config}).DialContext(testContext(t), "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The server speaks first, unless it refuses the certificate.
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	_, err = conn.Read(make([]byte, 1))
	return err
}

func TestWithTLS_OnlyItsOwnClientsGetIn(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	foreign, naked := ca.ClientConfig(), ca.ClientConfig()
	foreign.Certificates = other.ClientConfig().Certificates
	naked.Certificates = nil
	server, process := localetcd.Start(t, localetcd.WithTLS(ca)), localetcd.StartProcess(t, localetcd.WithTLS(ca))
	for _, addr := range []string{server.Addr(), process.Addr()} {
		requirePut(t, connect(t, clientv3.Config{Endpoints: []string{addr}, TLS: ca.ClientConfig()}), "scale", addr)
		require.NoError(t, refusal(t, addr, ca.ClientConfig()))
		require.ErrorAs(t, refusal(t, addr, other.ClientConfig()), new(x509.UnknownAuthorityError))
		require.ErrorContains(t, refusal(t, addr, foreign), "remote error: tls")
		require.ErrorContains(t, refusal(t, addr, naked), "certificate required")
	}
	requireValue(t, server.Client(), "scale", server.Addr())
	require.NoError(t, process.Restart())
	requireValue(t, process.Client(), "scale", process.Addr())
}

func TestWithTLS_AllMembersOfACluster(t *testing.T) {
	ca := newCA(t)
	c := localetcd.StartCluster(t, localetcd.WithTLS(ca))
	requirePut(t, c.Client(), "scale", "1")
	leader(t, c)
	naked := ca.ClientConfig()
	naked.Certificates = nil
	for _, m := range c.Members() {
		requireValue(t, m.Client(), "scale", "1")
		require.ErrorContains(t, refusal(t, m.Addr(), naked), "certificate required")
	}
}
