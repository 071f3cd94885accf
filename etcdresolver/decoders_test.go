package etcdresolver_test

import (
	"fmt"
	"log"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
)

// A service whose servers still register with kratos, and weighted as they say.
func ExampleDecodeKratos() {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	etcd := etcdresolver.NewBuilder(client, etcdresolver.WithDecoder(etcdresolver.DecodeKratos))
	conn, err := grpc.NewClient("etcd:////microservices/payments", // four slashes: the key begins with one
		grpc.WithResolvers(etcd),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"steelyard_weighted":{}}]}`))
	if err != nil {
		log.Println(err)
		return
	}
	defer conn.Close()
}

func requireRefused(t *testing.T, decode etcdresolver.Decoder, key, value, says string) {
	t.Helper()
	got, err := decode(key, []byte(value))
	require.ErrorContains(t, err, says)
	require.True(t, strings.HasPrefix(err.Error(), fmt.Sprintf("etcd key %q: ", key)), "%v", err)
	require.Equal(t, etcdregistry.Instance{}, got)
}

func TestDecodeKratos_Metadata(t *testing.T) {
	for metadata, want := range map[string]attrs.Attrs{
		`{}`:                   {Weight: 100},
		`{"weight":"0"}`:       {Draining: true},
		`{"weight":"1000000"}`: {Weight: attrs.MaxWeight},
		`{"draining":"true"}`:  {Weight: 100, Draining: true},
		`{"draining":"false"}`: {Weight: 100},
		`{"zone":"eu-1a"}`:     {Weight: 100, Zone: "eu-1a"},
		`{"version":"2","x":"<&>\u2028","y":""}`: {
			Weight: 100, Labels: map[string]string{"version": "2", "x": "<&>\u2028", "y": ""},
		},
	} {
		t.Run(metadata, func(t *testing.T) {
			value := `{"version":"","metadata":` + metadata + `,"endpoints":["grpc://10.0.0.7:9000"]}`
			got, err := etcdresolver.DecodeKratos("/microservices/payments/a", []byte(value))
			require.NoError(t, err)
			require.Equal(t, etcdregistry.Instance{ID: "a", Addr: "10.0.0.7:9000", Attrs: want}, got)
		})
	}
}

func TestDecodeKratos_VersionOfTheInstanceIsTheLabel(t *testing.T) {
	value := `{"version":"1.4.2","metadata":{"version":"9"},"endpoints":["grpc://10.0.0.7:9000"]}`
	got, err := etcdresolver.DecodeKratos("/microservices/payments/a", []byte(value))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"version": "1.4.2"}, got.Labels)
}

func TestDecodeKratos_FirstEndpointOfTheScheme(t *testing.T) {
	for name, c := range map[string]struct {
		decode          etcdresolver.Decoder
		endpoints, want string
	}{
		"first of two":            {etcdresolver.DecodeKratos, `["grpc://10.0.0.7:1","grpc://10.0.0.7:2"]`, "10.0.0.7:1"},
		"after an unreadable one": {etcdresolver.DecodeKratos, `["http://%zz","grpc://10.0.0.7:1"]`, "10.0.0.7:1"},
		"isSecure=false":          {etcdresolver.DecodeKratos, `["grpc://10.0.0.7:1?isSecure=false"]`, "10.0.0.7:1"},
		"after a secure one":      {etcdresolver.DecodeKratos, `["grpc://10.0.0.7:1?isSecure=true","grpc://10.0.0.7:2"]`, "10.0.0.7:2"},
		"after a plain one":       {etcdresolver.DecodeKratosTLS, `["grpc://10.0.0.7:1","grpcs://10.0.0.7:2"]`, "10.0.0.7:2"},
		"secure HTTP is no gRPC":  {etcdresolver.DecodeKratosTLS, `["http://10.0.0.7:1?isSecure=true","grpcs://10.0.0.7:2"]`, "10.0.0.7:2"},
		"a DNS name and a slash":  {etcdresolver.DecodeKratos, `["grpc://pay-0.svc:1/"]`, "pay-0.svc:1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.decode("/microservices/payments/a", []byte(`{"endpoints":`+c.endpoints+`}`))
			require.NoError(t, err)
			require.Equal(t, c.want, got.Addr)
		})
	}
}

func TestDecodeKitex_WeightAndTags(t *testing.T) {
	for fields, want := range map[string]attrs.Attrs{
		`"weight":-1`:                   {Weight: 10},
		`"weight":1`:                    {Weight: 1},
		`"weight":1000000`:              {Weight: attrs.MaxWeight},
		`"tags":{"weight":"7","a":"b"}`: {Weight: 10, Labels: map[string]string{"a": "b"}},
		`"tags":{"draining":"true"}`:    {Weight: 10, Draining: true},
	} {
		t.Run(fields, func(t *testing.T) {
			value := `{"network":"tcp","address":"10.0.0.7:8888",` + fields + `}`
			got, err := etcdresolver.DecodeKitex("kitex/registry-etcd/payments/a", []byte(value))
			require.NoError(t, err)
			require.Equal(t, etcdregistry.Instance{ID: "a", Addr: "10.0.0.7:8888", Attrs: want}, got)
		})
	}
}

func TestDecoders_RefuseWhatIsWrong(t *testing.T) {
	kratos := func(rest string) string { return `{"endpoints":["grpc://10.0.0.7:9000"],` + rest + `}` }
	kitex := func(rest string) string { return `{"network":"tcp","address":"10.0.0.7:8888",` + rest + `}` }
	for name, c := range map[string]struct {
		decode      etcdresolver.Decoder
		value, says string
	}{
		"go-zero, no address":            {etcdresolver.DecodeGoZero, "", "the address is empty"},
		"go-zero, no port":               {etcdresolver.DecodeGoZero, "10.0.0.7", "is not host:port"},
		"kratos, no JSON":                {etcdresolver.DecodeKratos, "10.0.0.7:9000", `value "10.0.0.7:9000" is not what the servers of this decoder write, want a JSON object`},
		"kratos, null":                   {etcdresolver.DecodeKratos, "null", "want a JSON object"},
		"kratos, nothing":                {etcdresolver.DecodeKratos, "", `value "" is not`},
		"kratos, half":                   {etcdresolver.DecodeKratos, `{"endpoints":`, "is bad JSON: unexpected end of JSON input"},
		"kratos, no endpoints":           {etcdresolver.DecodeKratos, `{"name":"payments"}`, `endpoints: got "", want one grpc://host:port`},
		"kratos, endpoints of a type":    {etcdresolver.DecodeKratos, `{"endpoints":"grpc://10.0.0.7:9000"}`, `endpoints: got a "string", want []string`},
		"kratos, endpoint without port":  {etcdresolver.DecodeKratos, `{"endpoints":["grpc://10.0.0.7"]}`, `address "10.0.0.7" is not host:port`},
		"kratos, endpoint everywhere":    {etcdresolver.DecodeKratos, `{"endpoints":["grpc://0.0.0.0:9000"]}`, "unspecified host"},
		"kratos, weight too large":       {etcdresolver.DecodeKratos, kratos(`"metadata":{"weight":"1000001"}`), "weight: got"},
		"kratos, weight below":           {etcdresolver.DecodeKratos, kratos(`"metadata":{"weight":"-1"}`), "weight: got"},
		"kratos, weight of words":        {etcdresolver.DecodeKratos, kratos(`"metadata":{"weight":"heavy"}`), "want a whole number from 0 to 1000000"},
		"kratos, metadata of a type":     {etcdresolver.DecodeKratos, kratos(`"metadata":{"weight":50}`), `metadata: got a "number", want string`},
		"kratos, draining of words":      {etcdresolver.DecodeKratos, kratos(`"metadata":{"draining":"maybe"}`), "draining: got"},
		"kitex, no JSON":                 {etcdresolver.DecodeKitex, "10.0.0.7:8888", "want a JSON object"},
		"kitex, no network":              {etcdresolver.DecodeKitex, `{"address":"10.0.0.7:8888"}`, `network: got "", want "tcp"`},
		"kitex, no address":              {etcdresolver.DecodeKitex, `{"network":"tcp"}`, "the address is empty, want host:port"},
		"kitex, weight too large":        {etcdresolver.DecodeKitex, kitex(`"weight":1000001`), "want a whole number from 0 to 1000000"},
		"kitex, weight beyond any limit": {etcdresolver.DecodeKitex, kitex(`"weight":1` + strings.Repeat("0", 999)), `weight: got a "number 1000`},
		"kitex, half a weight":           {etcdresolver.DecodeKitex, kitex(`"weight":0.5`), `weight: got a "number 0.5", want int64`},
		"kitex, tags of a type":          {etcdresolver.DecodeKitex, kitex(`"tags":[]`), `tags: got a "array", want map[string]string`},
	} {
		t.Run(name, func(t *testing.T) { requireRefused(t, c.decode, "payments/a", c.value, c.says) })
	}
}

// The servers of a service move one by one, under the keys that stand.
func TestDecoders_ReadEtcdregistrysFormatToo(t *testing.T) {
	want := etcdregistry.Instance{ID: "a", Addr: "10.0.0.7:80", Attrs: attrs.Attrs{
		Weight: 3, Zone: "eu-1a", Labels: map[string]string{"version": "1"},
	}}
	value, err := etcdregistry.Encode(want)
	require.NoError(t, err)
	for name, decode := range decoders {
		got, err := decode("payments/a", []byte(value))
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)

		_, err = decode("payments/a", []byte(`{"Op":1,"Addr":"10.0.0.7:80"}`))
		require.EqualError(t, err, `etcd key "payments/a": field Op: got 1, want 0`, name)
	}
}

func TestDecoders_SizeIsLimited(t *testing.T) {
	const room = 64 // for what etcdregistry's format has and the other has not
	for decoder, value := range map[string]string{
		"kratos": `{"metadata":{"pad":"%s"},"endpoints":["grpc://10.0.0.7:9000"]}`,
		"kitex":  `{"tags":{"pad":"%s"},"network":"tcp","address":"10.0.0.7:8888"}`,
	} {
		for _, pad := range []string{"x", "<"} {
			fits := strings.Repeat(pad, etcdregistry.MaxValueSize-len(value)-room)
			got, err := decoders[decoder]("payments/a", []byte(fmt.Sprintf(value, fits)))
			require.NoError(t, err, decoder)
			require.Equal(t, fits, got.Labels["pad"], decoder)
		}
		tooMuch := fmt.Sprintf(value, "") + strings.Repeat(" ", etcdregistry.MaxValueSize)
		requireRefused(t, decoders[decoder], "payments/a", tooMuch, fmt.Sprintf("the value has %d bytes, want at most 65536", len(tooMuch)))
	}
}

func TestDecoders_ErrorsAreOneShortLine(t *testing.T) {
	long := strings.Repeat("é\n", 9999)
	for _, value := range []string{
		long,
		"{" + long,
		fmt.Sprintf(`{"endpoints":[%q],"network":%q}`, long, long),
		fmt.Sprintf(`{"endpoints":["grpc://%s"],"network":"tcp","address":%q}`, strings.Repeat("a", 9999), long),
	} {
		for name, decode := range decoders {
			_, err := decode(long+"/a", []byte(value))
			require.Error(t, err, name)
			require.Less(t, len(err.Error()), 1000, name)
			require.NotContains(t, err.Error(), "\n", name)
		}
	}
}
