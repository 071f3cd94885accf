package e2e

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

var authFaults = []fault{
	{row: 18, name: "token expires", limit: afterTrouble, play: playTokenExpires},
	{row: 19, name: "permission revoked and granted", limit: 10 * time.Second, play: playPermissionRevoked},
	{row: 33, name: "TLS and a wrong certificate", limit: afterTrouble, play: playCertificates},
}

// The user of the resolver under test, who may read its service and nothing else.
const (
	readerName = "reader"
	readerRole = "reads-payments"
)

// reader is the config of a client of that user.
func reader(addr string) clientv3.Config {
	return clientv3.Config{Endpoints: []string{addr}, Username: readerName, Password: readerName}
}

// enableAuth has etcd ask for users, and s.etcd be root. The authority is nil without TLS.
func (s *scene) enableAuth(addr string, ca *localetcd.CA) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
	defer cancel()
	_, err := s.etcd.RoleAdd(ctx, readerRole)
	require.NoError(s, err)
	for user, role := range map[string]string{"root": "root", readerName: readerRole} {
		_, err = s.etcd.UserAdd(ctx, user, user)
		require.NoError(s, err)
		_, err = s.etcd.UserGrantRole(ctx, user, role)
		require.NoError(s, err)
	}
	s.allow()
	_, err = s.etcd.AuthEnable(ctx)
	require.NoError(s, err)
	root := clientv3.Config{Endpoints: []string{addr}, Username: "root", Password: "root"}
	if ca != nil {
		root.TLS = ca.ClientConfig()
	}
	s.etcd = s.connect(root)
}

// allow lets the reader read, forbid ends that.
func (s *scene) allow() {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
	defer cancel()
	prefix := discoverService + "/"
	_, err := s.etcd.RoleGrantPermission(ctx, readerRole, prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermRead))
	require.NoError(s, err)
}

func (s *scene) forbid() {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
	defer cancel()
	prefix := discoverService + "/"
	_, err := s.etcd.RoleRevokePermission(ctx, readerRole, prefix, clientv3.GetPrefixRangeEnd(prefix))
	require.NoError(s, err)
}

func playTokenExpires(s *scene) {
	const tokenTTL, expired = time.Second, 3 * time.Second // etcd looks once a second
	etcd := localetcd.Start(s, localetcd.WithTokenTTL(tokenTTL))
	network := localetcd.StartProxy(s, etcd.Addr())
	s.etcd = etcd.Client()
	s.enableAuth(etcd.Addr(), nil)
	a, b, c, d := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.put(a)
	s.dial(s.connect(reader(network.Addr())), etcdresolver.WithoutOverrides())
	s.flow(a)

	s.keeps(expired, a)
	s.put(b) // on a running watch
	s.reach(s.limit, a, b)

	network.Cut()
	s.put(c)
	s.keeps(expired, a, b)
	network.Mend() // on a reconnect
	s.reach(s.limit, a, b, c)

	s.keeps(expired, a, b, c)
	other := s.resolver(s.client, etcdresolver.WithoutOverrides()) // for a second resolver
	second := s.open(other, discoverService)
	s.within(s.limit, "a second resolver's list", func() { second.awaitSomeReach(a, b, c) })
	s.put(d)
	s.reach(s.limit, a, b, c, d)
	s.within(s.limit, "a second resolver's change", func() { second.awaitSomeReach(a, b, c, d) })
	if s.under.asserted {
		require.Empty(s, other.logged("watch: "), "its watch is not refused, it need not list again and again")
	}
}

// etcd lets a watch go on whose user may no longer read: only a new one is refused.
func playPermissionRevoked(s *scene) {
	etcd := localetcd.Start(s)
	network := localetcd.StartProxy(s, etcd.Addr())
	s.etcd = etcd.Client()
	s.enableAuth(etcd.Addr(), nil)
	a, b, c := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.put(a, b)
	s.dial(s.connect(reader(network.Addr())))
	s.flow(a, b)

	s.forbid()
	network.Cut()
	s.remove(a)
	s.put(c)
	network.Mend()
	s.keeps(4*time.Second, a, b)
	s.logs(0, 1, "permission denied")
	s.allow()
	s.reach(s.limit, b, c)
}

func playCertificates(s *scene) {
	ca, other := newCA(s), newCA(s)
	etcd := localetcd.Start(s, localetcd.WithTLS(ca))
	network := localetcd.StartProxy(s, etcd.Addr())
	s.etcd = etcd.Client()
	a, b, c := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.put(a, b)
	s.dial(s.connect(clientv3.Config{Endpoints: []string{network.Addr()}, TLS: ca.ClientConfig()}))
	s.flow(a, b)
	network.Cut()
	s.remove(a)
	s.put(c)
	s.keeps(time.Second, a, b)
	network.Mend()
	s.reach(s.limit, b, c)
	if !s.under.asserted {
		return
	}

	s.policy = stockPickFirst
	unknown, foreign := ca.ClientConfig(), other.ClientConfig()
	unknown.Certificates = foreign.Certificates
	for text, config := range map[string]clientv3.Config{
		"tls: ": {TLS: unknown}, // by the server
		"x509: certificate signed by unknown authority": {TLS: foreign}, // by the client
	} {
		begun, dials := time.Now(), newDialCounter()
		config.Endpoints = []string{etcd.Addr()}
		config.DialOptions = []grpc.DialOption{grpc.WithContextDialer(dials.dial)}
		refused := s.resolver(s.connect(config))
		channel := s.open(refused, discoverService)
		s.within(time.Second, "a call's error", func() { failsWith(channel, codes.Unavailable, "no list of payments/") })
		// Of a connection that the server closes the client may see the reset only.
		s.within(s.limit, "a call's error with the cause", func() { failsWith(channel, codes.Unavailable, text) })
		s.keeps(4*time.Second, b, c)
		require.LessOrEqual(s, dials.count(etcd.Addr()), 3+int(time.Since(begun)/time.Second), "about one in two seconds")
	}
	s.reach(s.limit, b, c)
}

func newCA(s *scene) *localetcd.CA {
	s.Helper()
	ca, err := localetcd.NewCA()
	require.NoError(s, err)
	return ca
}
