package etcdresolver_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
)

var decoders = map[string]etcdresolver.Decoder{
	"go-zero":    etcdresolver.DecodeGoZero,
	"kratos":     etcdresolver.DecodeKratos,
	"kratos TLS": etcdresolver.DecodeKratosTLS,
	"kitex":      etcdresolver.DecodeKitex,
}

func FuzzDecodeGoZero(f *testing.F)    { fuzzDecoder(f, etcdresolver.DecodeGoZero) }
func FuzzDecodeKratos(f *testing.F)    { fuzzDecoder(f, etcdresolver.DecodeKratos) }
func FuzzDecodeKratosTLS(f *testing.F) { fuzzDecoder(f, etcdresolver.DecodeKratosTLS) }
func FuzzDecodeKitex(f *testing.F)     { fuzzDecoder(f, etcdresolver.DecodeKitex) }

func fuzzDecoder(f *testing.F, decode etcdresolver.Decoder) {
	for _, r := range recorded {
		f.Add(r.key, []byte(r.value))
	}
	f.Add("", []byte(`{"endpoints":["grpc://10.0.0.7:1"],"metadata":{"weight":"1e3","draining":"\ud800","zone":null}}`))
	f.Add("a/\nb", []byte(`{"network":"tcp6","address":"[fe80::1%25eth0]:1","weight":-9223372036854775808,"tags":{"":"\u0000"}}`))
	f.Add(strings.Repeat("k", 300), []byte("{\"endpoints\":[\"grpc://\xff:1\"],\"metadata\":{\"\xff\":\"\n\"}}"))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		inst, err := decode(key, value)
		if err != nil {
			requireKindError(t, key, err)
			require.Equal(t, etcdregistry.Instance{}, inst)
			return
		}
		requireSound(t, key, inst)
	})
}

// requireKindError asks that err names the key, on one line of bounded length.
func requireKindError(t *testing.T, key string, err error) {
	t.Helper()
	text := err.Error()
	require.NotContains(t, text, "\n")
	require.Less(t, len(text), 2000)
	if quoted := fmt.Sprintf("%q", key); len(key) <= 200 {
		require.True(t, strings.HasPrefix(text, "etcd key "+quoted+": "), "%s", text)
	}
}

// requireSound asks that an instance is one that could have been registered.
func requireSound(t *testing.T, key string, inst etcdregistry.Instance) {
	t.Helper()
	require.Equal(t, key[strings.LastIndex(key, "/")+1:], inst.ID)
	require.LessOrEqual(t, inst.Weight, uint32(attrs.MaxWeight))
	_, err := etcdregistry.Encode(inst)
	// Encode writes what a value may leave out, which can be too much for a full one.
	if err != nil && strings.Contains(err.Error(), "use fewer or shorter labels") {
		_, err = etcdregistry.Encode(etcdregistry.Instance{Addr: inst.Addr})
	}
	require.NoError(t, err)
}
