package etcdregistry

import (
	"encoding/json"
	"maps"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

// slowly decodes without decodePlain: a space is nothing that it takes.
func slowly(value []byte) (Instance, error) {
	if len(value) == 0 || value[0] != '{' {
		return decode(value, attrs.Attrs{})
	}
	return decode(append([]byte("{ "), value[1:]...), attrs.Attrs{})
}

func TestPlain_TakesWhatEncodeWrites(t *testing.T) {
	for _, inst := range []Instance{
		{Addr: testAddr},
		{Addr: "[::1]:80", Attrs: attrs.Attrs{Weight: attrs.MaxWeight, Draining: true}},
		{Addr: testAddr, Attrs: attrs.Attrs{Weight: 5, Zone: "eu-1a", Labels: map[string]string{"version": "1.4.2", "owner": "<a&b>"}}},
	} {
		encoded, err := Encode(inst)
		require.NoError(t, err)
		got, ok := decodePlain([]byte(encoded), nil)
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
		_, ok := decodePlain([]byte(value), nil)
		require.False(t, ok, value)
	}
}

func TestDecodeLike_EqualLabelsAreOneMap(t *testing.T) {
	value := []byte(`{"Addr":"a:1","Metadata":{"weight":2,"version":"1.4.2","zone":"b","shard":7,"note":""}}`)
	want := map[string]string{"version": "1.4.2", "shard": "7", "note": ""}
	for name, c := range map[string]struct {
		like   map[string]string
		shared bool
	}{
		"equal":         {map[string]string{"note": "", "shard": "7", "version": "1.4.2"}, true},
		"none":          {nil, false},
		"one missing":   {map[string]string{"version": "1.4.2", "shard": "7"}, false},
		"one more":      {map[string]string{"version": "1.4.2", "shard": "7", "note": "", "more": ""}, false},
		"another text":  {map[string]string{"version": "1.4.2", "shard": "8", "note": ""}, false},
		"another label": {map[string]string{"version": "1.4.2", "shard": "7", "vote": ""}, false},
	} {
		before := maps.Clone(c.like)
		inst, err := DecodeLike("s/a", value, attrs.Attrs{Weight: 9, Zone: "c", Labels: c.like})
		require.NoError(t, err)
		require.Equal(t, Instance{ID: "a", Addr: "a:1", Attrs: attrs.Attrs{Weight: 2, Zone: "b", Labels: want}}, inst, name)
		require.Equal(t, before, c.like, "like is not modified")
		require.Equal(t, c.shared, reflect.ValueOf(inst.Labels).Pointer() == reflect.ValueOf(c.like).Pointer(), name)
	}
}

func TestDecodeLike_NothingOfLikeIsTakenOver(t *testing.T) {
	for _, value := range []string{`a:1`, `{"Addr":"a:1"}`, `{"Addr":"a:1","Metadata":{}}`, `{"Addr": "a:1"}`} {
		inst, err := DecodeLike("s/a", []byte(value), attrs.Attrs{Weight: 9, Draining: true, Zone: "c", Labels: map[string]string{"version": "1.4.2"}})
		require.NoError(t, err)
		require.Equal(t, Instance{ID: "a", Addr: "a:1"}, inst)
	}
}

// FuzzPlain: what decodePlain takes is valid JSON, and what encoding/json makes of it is the same.
func FuzzPlain(f *testing.F) {
	for _, seed := range []string{
		`{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"weight":5,"zone":"eu-1a","draining":false,"version":"1.4.2"}}`,
		`{"Addr":"a:1","Metadata":{"weight":"3","draining":"true","x":1,"y":true,"steelyard.owner":"f","steelyard.started":"2026"}}`,
		`{"Op":0,"Addr":"a:1","Metadata":{}}`, `{"Addr":"a:1","Metadata":{"weight":0}}`, `{"Addr":"a:1","Metadata":{"weight":"0x1"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		got, ok := decodePlain(value, map[string]string{"version": "1.4.2"})
		if !ok {
			return
		}
		require.True(t, json.Valid(value))
		want, err := slowly(value)
		require.NoError(t, err)
		require.Equal(t, want, got)
		again, _ := decodePlain(value, got.Labels)
		require.Equal(t, want, again)
	})
}

func BenchmarkDecode(b *testing.B) {
	value := []byte(`{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"weight":5,"zone":"eu-1a","draining":false,"version":"1.4.2"}}`)
	labels := attrs.Attrs{Labels: map[string]string{"version": "1.4.2"}}
	for name, decode := range map[string]func() (Instance, error){
		"plain":  func() (Instance, error) { return Decode("s/a", value) },
		"like":   func() (Instance, error) { return DecodeLike("s/a", value, labels) },
		"spaced": func() (Instance, error) { return slowly(value) },
	} {
		b.Run("value="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = decode()
			}
		})
	}
}
