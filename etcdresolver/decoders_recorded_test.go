package etcdresolver_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
)

// recorded are keys and values as the frameworks themselves wrote them to etcd,
// nothing changed.
var recorded = []struct {
	by         string
	decode     etcdresolver.Decoder
	key, value string
	want       etcdregistry.Instance
}{{
	by:     "go-zero v1.10.3, zrpc server listening on 0.0.0.0:18080, POD_IP=10.0.0.7",
	decode: etcdresolver.DecodeGoZero,
	key:    "payments.rpc/4027522084747088388",
	value:  "10.0.0.7:18080",
	want:   etcdregistry.Instance{ID: "4027522084747088388", Addr: "10.0.0.7:18080"},
}, {
	by:     "go-zero v1.10.3, zrpc server with the ID 42 in its config",
	decode: etcdresolver.DecodeGoZero,
	key:    "payments.rpc/42",
	value:  "127.0.0.1:18081",
	want:   etcdregistry.Instance{ID: "42", Addr: "127.0.0.1:18081"},
}, {
	by:     "kratos v2.8.4, HTTP and gRPC, with metadata",
	decode: etcdresolver.DecodeKratos,
	key:    "/microservices/payments/payments-0",
	value:  `{"id":"payments-0","name":"payments","version":"1.4.2","metadata":{"team":"billing","weight":"50","zone":"eu-1a"},"endpoints":["http://127.0.0.1:18000","grpc://127.0.0.1:19000"]}`,
	want: etcdregistry.Instance{ID: "payments-0", Addr: "127.0.0.1:19000", Attrs: attrs.Attrs{
		Weight: 50, Zone: "eu-1a", Labels: map[string]string{"team": "billing", "version": "1.4.2"},
	}},
}, {
	by:     "kratos v2.8.4, gRPC alone",
	decode: etcdresolver.DecodeKratos,
	key:    "/microservices/payments/payments-1",
	value:  `{"id":"payments-1","name":"payments","version":"","metadata":null,"endpoints":["grpc://127.0.0.1:19001"]}`,
	want:   etcdregistry.Instance{ID: "payments-1", Addr: "127.0.0.1:19001", Attrs: attrs.Attrs{Weight: 100}},
}, {
	by:     "kratos v2.8.4, with and without TLS, IPv6, weight 0; read without TLS",
	decode: etcdresolver.DecodeKratos,
	key:    "/microservices/payments/two",
	value:  `{"id":"two","name":"payments","version":"","metadata":{"weight":"0"},"endpoints":["grpcs://10.0.0.7:9443","grpc://[fd00::7]:9000"]}`,
	want:   etcdregistry.Instance{ID: "two", Addr: "[fd00::7]:9000", Attrs: attrs.Attrs{Draining: true}},
}, {
	by:     "the same, read with TLS",
	decode: etcdresolver.DecodeKratosTLS,
	key:    "/microservices/payments/two",
	value:  `{"id":"two","name":"payments","version":"","metadata":{"weight":"0"},"endpoints":["grpcs://10.0.0.7:9443","grpc://[fd00::7]:9000"]}`,
	want:   etcdregistry.Instance{ID: "two", Addr: "10.0.0.7:9443", Attrs: attrs.Attrs{Draining: true}},
}, {
	by:     "kratos v2.8.4, gRPC with TLS",
	decode: etcdresolver.DecodeKratosTLS,
	key:    "/microservices/payments/tls",
	value:  `{"id":"tls","name":"payments","version":"","metadata":null,"endpoints":["grpcs://127.0.0.1:19002"]}`,
	want:   etcdregistry.Instance{ID: "tls", Addr: "127.0.0.1:19002", Attrs: attrs.Attrs{Weight: 100}},
}, {
	by:     "kratos v2.0.5, gRPC with TLS",
	decode: etcdresolver.DecodeKratosTLS,
	key:    "/microservices/payments/old-tls",
	value:  `{"id":"old-tls","name":"payments","version":"","metadata":null,"endpoints":["grpc://127.0.0.1:19004?isSecure=true"]}`,
	want:   etcdregistry.Instance{ID: "old-tls", Addr: "127.0.0.1:19004", Attrs: attrs.Attrs{Weight: 100}},
}, {
	by:     "registry-etcd v0.2.6 with kitex v0.12.3, a running server",
	decode: etcdresolver.DecodeKitex,
	key:    "kitex/registry-etcd/payments/127.0.0.1:18888",
	value:  `{"network":"tcp","address":"127.0.0.1:18888","weight":10,"tags":null}`,
	want:   etcdregistry.Instance{ID: "127.0.0.1:18888", Addr: "127.0.0.1:18888", Attrs: attrs.Attrs{Weight: 10}},
}, {
	by:     "registry-etcd v0.2.6, with weight and tags",
	decode: etcdresolver.DecodeKitex,
	key:    "kitex/registry-etcd/payments/10.0.0.7:8888",
	value:  `{"network":"tcp","address":"10.0.0.7:8888","weight":30,"tags":{"version":"1.4.2","zone":"eu-1a"}}`,
	want: etcdregistry.Instance{ID: "10.0.0.7:8888", Addr: "10.0.0.7:8888", Attrs: attrs.Attrs{
		Weight: 30, Zone: "eu-1a", Labels: map[string]string{"version": "1.4.2"},
	}},
}, {
	by:     "registry-etcd v0.2.6, without a weight",
	decode: etcdresolver.DecodeKitex,
	key:    "kitex/registry-etcd/payments/10.0.0.8:8888",
	value:  `{"network":"tcp","address":"10.0.0.8:8888","weight":0,"tags":null}`,
	want:   etcdregistry.Instance{ID: "10.0.0.8:8888", Addr: "10.0.0.8:8888", Attrs: attrs.Attrs{Weight: 10}},
}, {
	by:     "registry-etcd v0.2.6, NewEtcdRegistryWithAuth",
	decode: etcdresolver.DecodeKitex,
	key:    "/payments/10.0.0.11:8888",
	value:  `{"network":"tcp","address":"10.0.0.11:8888","weight":10,"tags":null}`,
	want:   etcdregistry.Instance{ID: "10.0.0.11:8888", Addr: "10.0.0.11:8888", Attrs: attrs.Attrs{Weight: 10}},
}}

func TestDecoders_ReadWhatTheFrameworksWrote(t *testing.T) {
	for _, r := range recorded {
		t.Run(r.by, func(t *testing.T) {
			got, err := r.decode(r.key, []byte(r.value))
			require.NoError(t, err)
			require.Equal(t, r.want, got)
		})
	}
}

// What the frameworks write, too, and nobody can dial.
func TestDecoders_RefuseWhatTheFrameworksShouldNotHaveWritten(t *testing.T) {
	for by, c := range map[string]struct {
		decode           etcdresolver.Decoder
		key, value, says string
	}{
		"go-zero v1.10.3, zrpc server listening on [::]:18082": {
			etcdresolver.DecodeGoZero, "payments.rpc/4027522084747088392", "[::]:18082",
			"others cannot reach the unspecified host ::",
		},
		"kratos v2.8.4, HTTP alone": {
			etcdresolver.DecodeKratos, "/microservices/payments/web",
			`{"id":"web","name":"payments","version":"","metadata":null,"endpoints":["http://127.0.0.1:18001"]}`,
			`endpoints: got "http://127.0.0.1:18001", want one grpc://host:port`,
		},
		"kratos v2.8.4, gRPC with TLS, read without": {
			etcdresolver.DecodeKratos, "/microservices/payments/tls",
			`{"id":"tls","name":"payments","version":"","metadata":null,"endpoints":["grpcs://127.0.0.1:19002"]}`,
			`endpoints: got "grpcs://127.0.0.1:19002", want one grpc://host:port (DecodeKratos takes grpc, DecodeKratosTLS grpcs)`,
		},
		"kratos v2.0.5, gRPC with TLS, read without": {
			etcdresolver.DecodeKratos, "/microservices/payments/old-tls",
			`{"id":"old-tls","name":"payments","version":"","metadata":null,"endpoints":["grpc://127.0.0.1:19004?isSecure=true"]}`,
			`endpoints: got "grpc://127.0.0.1:19004?isSecure=true", want one grpc://host:port`,
		},
		"kratos v2.0.5, gRPC without TLS, read with": {
			etcdresolver.DecodeKratosTLS, "/microservices/payments/old",
			`{"id":"old","name":"payments","version":"","metadata":null,"endpoints":["grpc://127.0.0.1:19003"]}`,
			`endpoints: got "grpc://127.0.0.1:19003", want one grpcs://host:port`,
		},
		"registry-etcd v0.2.6, a Unix socket": {
			etcdresolver.DecodeKitex, "kitex/registry-etcd/payments//run/payments.sock",
			`{"network":"unix","address":"/run/payments.sock","weight":10,"tags":null}`,
			`network: got "unix", want "tcp"`,
		},
		"registry-etcd v0.2.6, 0.0.0.0:8888": {
			etcdresolver.DecodeKitex, "kitex/registry-etcd/payments/0.0.0.0:8888",
			`{"network":"tcp","address":"0.0.0.0:8888","weight":10,"tags":null}`,
			"others cannot reach the unspecified host 0.0.0.0",
		},
		"registry-etcd v0.2.6, SetFixedAddress without a host": {
			etcdresolver.DecodeKitex, "kitex/registry-etcd/payments/:8888",
			`{"network":"tcp","address":":8888","weight":10,"tags":null}`,
			`address ":8888" names no host`,
		},
		"registry-etcd v0.2.6, [fd00::7]:8888": {
			etcdresolver.DecodeKitex, "kitex/registry-etcd/payments/fd00::7:8888",
			`{"network":"tcp","address":"fd00::7:8888","weight":10,"tags":null}`,
			`address "fd00::7:8888" is not host:port`,
		},
	} {
		t.Run(by, func(t *testing.T) { requireRefused(t, c.decode, c.key, c.value, c.says) })
	}
}
