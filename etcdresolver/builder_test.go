package etcdresolver

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/resolver"
)

func TestBuilder_BadTargetsAreClearErrors(t *testing.T) {
	b := newFakeEtcd().builder(t)
	for text, want := range map[string]string{
		"etcd:///":            "the service is empty: write etcd:///service",
		"etcd:////":           "the service is empty: write etcd:///service",
		"etcd:":               "the service is empty: write etcd:///service",
		"etcd:///payments/":   "the service ends with a slash: write etcd:///payments",
		"etcd:///a/b//":       "the service ends with a slash: write etcd:///a/b",
		"etcd://payments":     `"payments" stands where an authority would: write three slashes, etcd:///payments`,
		"etcd://payments/":    `"payments" stands where an authority would: write three slashes, etcd:///payments`,
		"etcd://h:2379/pay":   `the authority "h:2379" is not used: which etcd to ask is up to the client of NewBuilder; write etcd:///pay, or use NewTargetBuilder`,
		"etcd:///pay?zone=eu": "a query or fragment is not used: write etcd:///pay",
		"etcd:///pay#eu":      "a query or fragment is not used: write etcd:///pay",
	} {
		r, err := b.Build(target(t, text), &fakeCC{}, resolver.BuildOptions{})
		require.EqualError(t, err, `etcdresolver: target "`+text+`": `+want)
		require.Nil(t, r)
	}
	require.Empty(t, b.services)
}

func TestBuilder_NilClientIsAClearError(t *testing.T) {
	b := NewBuilder(nil)
	_, err := b.Build(target(t, "etcd:///payments"), &fakeCC{}, resolver.BuildOptions{})
	require.EqualError(t, err, `etcdresolver: target "etcd:///payments": the etcd client is nil: give NewBuilder the client to use`)
	require.Equal(t, "etcd", b.Scheme())
}

func TestBuilder_ServiceMayContainSlashes(t *testing.T) {
	for service, key := range map[string]string{
		"payments":           "payments/a",
		"eu/team/payments":   "eu/team/payments/a",
		"/microservices/pay": "/microservices/pay/a",
		"pay%20ments":        "pay ments/a",
	} {
		synctest.Test(t, func(t *testing.T) {
			etcd := newFakeEtcd()
			etcd.put(key, addrA)
			require.Equal(t, addrA, dialService(t, etcd.builder(t), service).addrs())
		})
	}
}

func dialService(t *testing.T, b resolver.Builder, service string) *fakeCC {
	t.Helper()
	cc := dial(t, b, service)
	synctest.Wait()
	return cc
}
