package etcdregistry

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

// slowly decodes without decodePlain: a space is nothing that it takes.
func slowly(value []byte) (Instance, error) {
	if len(value) == 0 || value[0] != '{' {
		return decode(value)
	}
	return decode(append([]byte("{ "), value[1:]...))
}

func TestPlain_TakesWhatEncodeWrites(t *testing.T) {
	for _, inst := range []Instance{
		{Addr: testAddr},
		{Addr: "[::1]:80", Attrs: attrs.Attrs{Weight: attrs.MaxWeight, Draining: true}},
		{Addr: testAddr, Attrs: attrs.Attrs{Weight: 5, Zone: "eu-1a", Labels: map[string]string{"version": "1.4.2", "owner": "<a&b>"}}},
	} {
		encoded, err := Encode(inst)
		require.NoError(t, err)
		got, ok := decodePlain([]byte(encoded))
		require.True(t, ok, encoded)
		require.Equal(t, inst, got)
	}
}

func TestPlain_LeavesTheRestToJSON(t *testing.T) {
	for _, value := range []string{
		``, `{`, `{}`, `{"Addr":"a:1"`, `{"Addr":"a:1"}}`, `{"Addr":"a:1",}`, `{,"Addr":"a:1"}`, `{"Addr" :"a:1"}`, `{"Addr":"a:1"} `,
		`{"Addr":"a\u003a1"}`, `{"Addr":"ä:1"}`, `{"Addr":"a:1","Addr":"b:1"}`, `{"addr":"a:1"}`, `{"Addr":"a:1","Op":1}`, `{"Addr":"a:1","Op":00}`,
		`{"Addr":"a:1","Metadata":null}`, `{"Addr":"a:1","Metadata":{"x":null}}`, `{"Addr":"a:1","Metadata":{"x":{}}}`, `{"Addr":"a:1","Metadata":{"x":[1]}}`,
		`{"Addr":"a:1","Metadata":{"x":-1}}`, `{"Addr":"a:1","Metadata":{"x":1.5}}`, `{"Addr":"a:1","Metadata":{"x":01}}`, `{"Addr":"a:1","Metadata":{"x":}}`,
		`{"Addr":"a:1","Metadata":{"weight":0,"weight":1}}`, `{"Addr":"a:1","Metadata":{"weight":1000001}}`, `{"Addr":"a:1","Metadata":{"zone":1}}`,
		`{"Addr":1}`, `{"Addr":"a:1","Metadata":{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1}}`,
	} {
		_, ok := decodePlain([]byte(value))
		require.False(t, ok, value)
	}
}

// FuzzPlain: what decodePlain takes is valid JSON, and what encoding/json makes of it is the same.
func FuzzPlain(f *testing.F) {
	for _, seed := range []string{
		`{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"weight":5,"zone":"eu-1a","draining":false,"version":"1.4.2"}}`,
		`{"Addr":"a:1","Metadata":{"weight":"3","draining":"true","x":1,"y":true,"steelyard.owner":"f"}}`,
		`{"Op":0,"Addr":"a:1","Metadata":{}}`, `{"Addr":"a:1","Metadata":{"weight":0}}`, `{"Addr":"a:1","Metadata":{"weight":"0x1"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		got, ok := decodePlain(value)
		if !ok {
			return
		}
		require.True(t, json.Valid(value))
		want, err := slowly(value)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func BenchmarkDecode(b *testing.B) {
	value := []byte(`{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"weight":5,"zone":"eu-1a","draining":false,"version":"1.4.2"}}`)
	for name, decode := range map[string]func([]byte) (Instance, error){"plain": decode, "spaced": slowly} {
		b.Run("value="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = decode(value)
			}
		})
	}
}
