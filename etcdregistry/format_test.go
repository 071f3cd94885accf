package etcdregistry

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

func TestKey(t *testing.T) {
	require.Equal(t, "payments/10.0.0.7:8080", Key("payments", "10.0.0.7:8080"))
}

func TestEncode_WritesWhatEtcdsNamingPackageReads(t *testing.T) {
	cases := []struct {
		name string
		inst Instance
		want string
	}{
		{"address alone", Instance{Addr: testAddr}, `{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"draining":false}}`},
		{
			"everything",
			Instance{ID: "not in the value", Addr: testAddr, Attrs: attrs.Attrs{
				Weight: 5, Zone: "eu-1a", Labels: map[string]string{"version": "1.4.2", "owner": "<a&b>"},
			}},
			`{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"draining":false,"owner":"<a&b>","version":"1.4.2","weight":5,"zone":"eu-1a"}}`,
		},
		{
			"draining keeps its weight",
			Instance{Addr: testAddr, Attrs: attrs.Attrs{Weight: 5, Draining: true}},
			`{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"draining":true,"weight":5}}`,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Encode(c.inst)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestEncode_Refuses(t *testing.T) {
	labels := func(name, value string) Instance {
		return Instance{Addr: testAddr, Attrs: attrs.Attrs{Labels: map[string]string{name: value}}}
	}
	cases := []struct {
		name string
		inst Instance
		want string
	}{
		{"no address", Instance{}, "etcdregistry: the address is empty, want host:port"},
		{"heavy", Instance{Addr: testAddr, Attrs: attrs.Attrs{Weight: 1_000_001}}, "etcdregistry: weight: got 1000001, want at most 1000000"},
		{"reserved weight", labels("weight", "5"), `etcdregistry: label "weight" is reserved: set the field of attrs.Attrs instead`},
		{"reserved zone", labels("zone", "eu"), `etcdregistry: label "zone" is reserved: set the field of attrs.Attrs instead`},
		{"reserved draining", labels("draining", "no"), `etcdregistry: label "draining" is reserved: set the field of attrs.Attrs instead`},
		{"zone no UTF-8", Instance{Addr: testAddr, Attrs: attrs.Attrs{Zone: "\xff"}}, `etcdregistry: zone: "\xff" is not UTF-8`},
		{"label no UTF-8", labels("version", "\xff"), `etcdregistry: label "version": "\xff" is not UTF-8`},
		{"label name no UTF-8", labels("\xff", "1"), `etcdregistry: label "\xff": "1" is not UTF-8`},
		{
			"large", labels("notes", strings.Repeat("x", MaxValueSize)),
			"etcdregistry: the value has 65608 bytes, want at most 65536: use fewer or shorter labels",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Encode(c.inst)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestDecode_Takes(t *testing.T) {
	plain := attrs.Attrs{}
	cases := []struct {
		name  string
		value string
		addr  string
		want  attrs.Attrs
	}{
		{"bare address", "10.0.0.7:8080", "10.0.0.7:8080", plain},
		{"bare address and a newline", " payments-0.pay:8080\n", "payments-0.pay:8080", plain},
		{"bare IPv6 address", "[2001:db8::7]:8080", "[2001:db8::7]:8080", plain},
		{"IPv6 address with a zone", `{"Addr":"[fe80::1%eth0]:80"}`, "[fe80::1%eth0]:80", plain},
		{"loopback", `{"Addr":"127.0.0.1:1"}`, "127.0.0.1:1", plain},
		{"no Op, no Metadata", `{"Addr":"a_b-c.d:65535"}`, "a_b-c.d:65535", plain},
		{"as large as can be", `{"Addr":"a:1"}` + strings.Repeat(" ", MaxValueSize-14), "a:1", plain},
		{"null Metadata", `{"Op":0,"Addr":"a:1","Metadata":null}`, "a:1", plain},
		{"Metadata a string", `{"Op":0,"Addr":"a:1","Metadata":"eu"}`, "a:1", plain},
		{"Metadata a list", `{"Op":0,"Addr":"a:1","Metadata":[1]}`, "a:1", plain},
		{"unknown fields beside it", `{"Op":0,"Addr":"a:1","Metadata":{"weight":2},"Since":1}`, "a:1", attrs.Attrs{Weight: 2}},
		{
			"everything", `{"Op":0,"Addr":"a:1","Metadata":{"weight":5,"zone":"eu","draining":true,"version":"1"}}`, "a:1",
			attrs.Attrs{Weight: 5, Zone: "eu", Draining: true, Labels: map[string]string{"version": "1"}},
		},
		{"weight a string", `{"Addr":"a:1","Metadata":{"weight":"17"}}`, "a:1", attrs.Attrs{Weight: 17}},
		{"weight with an exponent", `{"Addr":"a:1","Metadata":{"weight":1e3}}`, "a:1", attrs.Attrs{Weight: 1000}},
		{"weight 5.0", `{"Addr":"a:1","Metadata":{"weight":5.0}}`, "a:1", attrs.Attrs{Weight: 5}},
		{"greatest weight", `{"Addr":"a:1","Metadata":{"weight":1000000}}`, "a:1", attrs.Attrs{Weight: 1_000_000}},
		{"weight 0 drains", `{"Addr":"a:1","Metadata":{"weight":0}}`, "a:1", attrs.Attrs{Draining: true}},
		{"weight 0 drains whatever the mark", `{"Addr":"a:1","Metadata":{"weight":"0","draining":false}}`, "a:1", attrs.Attrs{Draining: true}},
		{"weight null", `{"Addr":"a:1","Metadata":{"weight":null,"zone":null,"draining":null,"x":null}}`, "a:1", plain},
		{"draining a string", `{"Addr":"a:1","Metadata":{"draining":"true"}}`, "a:1", attrs.Attrs{Draining: true}},
		{
			"labels of other types", `{"Addr":"a:1","Metadata":{"n":1.50,"b":true,"o":{ "k" : [1, "x"] },"s":""}}`, "a:1",
			attrs.Attrs{Labels: map[string]string{"n": "1.50", "b": "true", "o": `{"k":[1,"x"]}`, "s": ""}},
		},
		{
			"server name is a label like any other", `{"Addr":"a:1","ServerName":"evil","Metadata":{"ServerName":"evil"}}`, "a:1",
			attrs.Attrs{Labels: map[string]string{"ServerName": "evil"}},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Decode("payments/eu-7", []byte(c.value))
			require.NoError(t, err)
			require.Equal(t, Instance{ID: "eu-7", Addr: c.addr, Attrs: c.want}, got)
		})
	}
}

func TestDecode_Refuses(t *testing.T) {
	const number = "want a whole number from 0 to 1000000"
	metadata := func(fields string) string { return `{"Op":0,"Addr":"a:1","Metadata":{` + fields + `}}` }
	cases := []struct{ name, value, want string }{
		{"nothing", "", `value is neither host:port nor {"Op":0,"Addr":"host:port"}: the address is empty, want host:port`},
		{"rubbish", "hello", `value is neither host:port nor {"Op":0,"Addr":"host:port"}: address "hello" is not host:port`},
		{"empty object", "{}", "the address is empty, want host:port"},
		{"bad JSON", `{"Op":0,`, `value "{\"Op\":0," is bad JSON: unexpected end of JSON input`},
		{"more behind it", `{"Addr":"a:1"}x`, `value "{\"Addr\":\"a:1\"}x" is bad JSON: invalid character 'x' after top-level value`},
		{"Addr a number", `{"Addr":7}`, `value "{\"Addr\":7}" is bad JSON: cannot unmarshal number into Go struct field value.Addr of type string`},
		{"Op 1", `{"Op":1,"Addr":"a:1"}`, "field Op: got 1, want 0"},
		{"no port", `{"Addr":"10.0.0.7"}`, `address "10.0.0.7" is not host:port`},
		{"IPv6 without brackets", `{"Addr":"2001:db8::7:80"}`, `address "2001:db8::7:80" is not host:port`},
		{"no host", `{"Addr":":80"}`, `address ":80" names no host: see AdvertiseAddr`},
		{"all IPv4 hosts", `{"Addr":"0.0.0.0:80"}`, `address "0.0.0.0:80": others cannot reach the unspecified host 0.0.0.0: see AdvertiseAddr`},
		{"all IPv6 hosts", `{"Addr":"[::]:80"}`, `address "[::]:80": others cannot reach the unspecified host ::: see AdvertiseAddr`},
		{"all mapped hosts", `{"Addr":"[::ffff:0.0.0.0]:80"}`, "others cannot reach the unspecified host ::ffff:0.0.0.0: see AdvertiseAddr"},
		{"port 0", `{"Addr":"a:0"}`, `address "a:0": port: got "0", want a number from 1 to 65535`},
		{"port 65536", `{"Addr":"a:65536"}`, `port: got "65536", want a number from 1 to 65535`},
		{"port by name", `{"Addr":"a:http"}`, `port: got "http", want a number from 1 to 65535`},
		{"port with a sign", `{"Addr":"a:+80"}`, `port: got "+80", want a number from 1 to 65535`},
		{"host with a space", `{"Addr":"a b:80"}`, `address "a b:80": host "a b" is neither an IP address nor a DNS name`},
		{"URL", `{"Addr":"http://a:80"}`, `address "http://a:80" is not host:port`},
		{"host with a newline", `{"Addr":"a\nb:80"}`, `host "a\nb" is neither an IP address nor a DNS name`},
		{"zone of the address with a newline", `{"Addr":"[fe80::1%a\nb]:80"}`, `host "fe80::1%a\nb" is neither an IP address nor a DNS name`},
		{"long host", `{"Addr":"` + strings.Repeat("a", 254) + `:80"}`, `aaa"... is neither an IP address nor a DNS name`},
		{"weight negative", metadata(`"weight":-1`), `weight: got "-1", ` + number},
		{"weight a fraction", metadata(`"weight":1.5`), `weight: got "1.5", ` + number},
		{"weight too large", metadata(`"weight":1000001`), `weight: got "1000001", ` + number},
		{"weight beyond a float", metadata(`"weight":1e999`), `weight: got "1e999", ` + number},
		{"weight not a number", metadata(`"weight":"NaN"`), `weight: got "\"NaN\"", ` + number},
		{"weight hexadecimal", metadata(`"weight":"0x10"`), `weight: got "\"0x10\"", ` + number},
		{"weight an empty string", metadata(`"weight":""`), `weight: got "\"\"", ` + number},
		{"weight a boolean", metadata(`"weight":true`), `weight: got "true", ` + number},
		{"zone a number", metadata(`"zone":1`), `zone: got "1", want a string`},
		{"draining a number", metadata(`"draining":1`), `draining: got "1", want true or false`},
		{"draining yes", metadata(`"draining":"yes"`), `draining: got "\"yes\"", want true or false`},
		{"large", `{"Addr":"a:1"}` + strings.Repeat(" ", MaxValueSize), "the value has 65550 bytes, want at most 65536"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Decode("payments/eu-7", []byte(c.value))
			require.ErrorContains(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), `etcd key "payments/eu-7": `), err.Error())
			require.Zero(t, got)
		})
	}
}

func TestDecode_ErrorIsOneShortLine(t *testing.T) {
	long := strings.Repeat("ä\n", 10_000)
	for name, value := range map[string]string{
		"bare":      long,
		"bad JSON":  "{" + long,
		"Op":        `{"Op":` + strings.Repeat("9", 30_000) + `}`,
		"Addr":      `{"Addr":"` + strings.Repeat("9", 30_000) + `"}`,
		"port":      `{"Addr":"a:` + strings.Repeat("9", 30_000) + `"}`,
		"weight":    `{"Addr":"a:1","Metadata":{"weight":` + strings.Repeat("9", 30_000) + `}}`,
		"IPv6 zone": `{"Addr":"[fe80::1%` + strings.Repeat(`\u00e4`, 5_000) + `]:1"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode("payments/"+long, []byte(value))
			require.Error(t, err)
			require.Less(t, len(err.Error()), 800)
			require.NotContains(t, err.Error(), "\n")
			require.Contains(t, err.Error(), `etcd key "payments/`)
		})
	}
}

// What Decode accepts is in range, and Encode writes it so that it reads the same.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "10.0.0.7:8080", "[::1]:80", "[fe80::1%eth0]:80", "null", "[]", `"a:1"`,
		`{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"weight":5,"zone":"eu-1a","draining":false,"version":"1.4.2"}}`,
		`{"Op":1,"Addr":"a:1"}`, `{"Addr":"a:1","Metadata":[1]}`, `{"addr":"a:1","Addr":"b:1","Metadata":null}`,
		`{"Addr":"a:1","Metadata":{"weight":"3","draining":"true","x":{"y":[1,2.50,null]},"z":"\u2028<>\ud800"}}`,
		"{\"Addr\":\"a:1\",\"Metadata\":{\"x\":[\"\xff\"],\"\xff\":\"\xfe\",\"zone\":\"\xfd\"}}",
		`{"Addr":"a:1","Metadata":{"weight":0}}`, `{"Addr":"a:1","Metadata":{"weight":1e-7}}`, `{"Addr":"a:1","Metadata":{"weight":-0}}`,
	} {
		f.Add("payments/eu-7", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		inst, err := Decode(key, value)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			require.Less(t, len(err.Error()), 2000)
			return
		}
		require.LessOrEqual(t, inst.Weight, uint32(attrs.MaxWeight))
		host, port, err := net.SplitHostPort(inst.Addr)
		require.NoError(t, err)
		require.NotEmpty(t, host)
		number, err := strconv.Atoi(port)
		require.NoError(t, err)
		require.True(t, number >= 1 && number <= 65535, port)

		again, err := Encode(inst)
		if len(value) > MaxValueSize/8 && err != nil {
			return // JSON as a label grows by the quotes that have to be escaped
		}
		require.NoError(t, err)
		back, err := Decode(key, []byte(again))
		require.NoError(t, err)
		require.Equal(t, inst, back)
	})
}

func ExampleEncode() {
	value, err := Encode(Instance{
		Addr:  "10.0.0.7:8080",
		Attrs: attrs.Attrs{Weight: 5, Zone: "eu-1a", Labels: map[string]string{"version": "1.4.2"}},
	})
	fmt.Println(value, err)
	// Output: {"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"draining":false,"version":"1.4.2","weight":5,"zone":"eu-1a"}} <nil>
}
