package etcdregistry

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
)

const testOverride = "steelyard/overrides/payments/10.0.0.7:8080"

func TestOverrideKey_StandsOutsideTheService(t *testing.T) {
	require.Equal(t, testOverride, OverrideKey(testService, testAddr))
	require.Equal(t, "steelyard/overrides/payments/", OverridePrefix(testService))
	require.Equal(t, "steelyard/config/payments", ConfigKey(testService))
}

func TestEncodeOverride(t *testing.T) {
	for _, c := range []struct {
		override Override
		want     string
	}{
		{Override{Weight: 3}, `{"weight":3}`},
		{Override{Draining: true}, `{"draining":true}`},
		{Override{Weight: 1_000_000, Draining: true, Reason: "<disk>"}, `{"weight":1000000,"draining":true,"reason":"<disk>"}`},
	} {
		got, err := EncodeOverride(c.override)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
		back, err := DecodeOverride(testOverride, []byte(got))
		require.NoError(t, err)
		require.Equal(t, c.override, back)
	}
}

func TestEncodeOverride_Refuses(t *testing.T) {
	for _, c := range []struct {
		override Override
		want     string
	}{
		{Override{Reason: "why not"}, "etcdregistry: override: it says nothing, want a weight or draining; to end an override, lift it"},
		{Override{Weight: 1_000_001}, "etcdregistry: override: weight: got 1000001, want at most 1000000"},
		{Override{Weight: 1, Reason: "\xff"}, `etcdregistry: override: reason: "\xff" is not UTF-8`},
		{Override{Weight: 1, Reason: strings.Repeat("x", 201)}, "etcdregistry: override: reason: got 201 bytes, want at most 200"},
	} {
		_, err := EncodeOverride(c.override)
		require.EqualError(t, err, c.want)
	}
}

func TestDecodeOverride_Takes(t *testing.T) {
	long := strings.Repeat("ä", 101) // 202 bytes
	for value, want := range map[string]Override{
		`{}`:                                     {},
		` {"weight":3} `:                         {Weight: 3},
		`{"weight":"17"}`:                        {Weight: 17},
		`{"weight":0}`:                           {Draining: true},
		`{"weight":0,"draining":false}`:          {Draining: true},
		`{"draining":"true"}`:                    {Draining: true},
		`{"draining":false}`:                     {},
		`{"weight":null,"draining":null}`:        {},
		`{"weight":3,"reason":"disk","by":"me"}`: {Weight: 3, Reason: "disk"},
		`{"weight":3,"reason":null}`:             {Weight: 3},
		`{"weight":3,"zone":1}`:                  {Weight: 3},
		`{"weight":3,"lease":[]}`:                {Weight: 3},
		`{"weight":3,"reason":"` + long + `"}`:   {Weight: 3, Reason: strings.Repeat("ä", 100)},
	} {
		got, err := DecodeOverride(testOverride, []byte(value))
		require.NoError(t, err, value)
		require.Equal(t, want, got, value)
	}
}

func TestDecodeOverride_Refuses(t *testing.T) {
	for value, want := range map[string]string{
		"":                                  `got "", want {"weight":3} or {"draining":true}`,
		"3":                                 `got "3", want {"weight":3} or {"draining":true}`,
		`{"weight":3`:                       `value "{\"weight\":3" is bad JSON: unexpected end of JSON input`,
		`{"weight":-1}`:                     `weight: got "-1", want a whole number from 0 to 1000000`,
		`{"weight":1000001}`:                `weight: got "1000001", want a whole number from 0 to 1000000`,
		`{"draining":1}`:                    `draining: got "1", want true or false`,
		`{"weight":1,"reason":[]}`:          `reason: got "[]", want a string`,
		strings.Repeat(" ", MaxValueSize+1): "the value has 65537 bytes, want at most 65536",
	} {
		got, err := DecodeOverride(testOverride, []byte(value))
		require.EqualError(t, err, `etcd key "`+testOverride+`": override: `+want)
		require.Zero(t, got)
	}
}

func TestOverride_ReplacesTheWeightAndNeverUndrains(t *testing.T) {
	labels := map[string]string{"version": "1"}
	for _, c := range []struct {
		name      string
		override  Override
		own, want attrs.Attrs
	}{
		{"nothing said", Override{}, attrs.Attrs{Weight: 5, Zone: "eu", Labels: labels}, attrs.Attrs{Weight: 5, Zone: "eu", Labels: labels}},
		{"weight", Override{Weight: 3}, attrs.Attrs{Weight: 5, Zone: "eu", Labels: labels}, attrs.Attrs{Weight: 3, Zone: "eu", Labels: labels}},
		{"weight for one without", Override{Weight: 3}, attrs.Attrs{}, attrs.Attrs{Weight: 3}},
		{"drains", Override{Draining: true}, attrs.Attrs{Weight: 5}, attrs.Attrs{Weight: 5, Draining: true}},
		{"a server that shuts down stays so", Override{Weight: 3}, attrs.Attrs{Weight: 5, Draining: true}, attrs.Attrs{Weight: 3, Draining: true}},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, c.override.Apply(c.own)) })
	}
}

func TestSetOverride_RefusesBadArguments(t *testing.T) {
	client := clientv3.NewCtxClient(context.Background())
	good := Override{Weight: 3}
	for _, c := range []struct {
		client      *clientv3.Client
		service, id string
		override    Override
		limit       time.Duration
		want        string
	}{
		{nil, testService, testAddr, good, 0, "the etcd client is nil"},
		{client, "", testAddr, good, 0, `the service is empty, want a name such as "payments"`},
		{client, testService, "", good, 0, "the id is empty, want that of an instance, its address unless it has another"},
		{client, testService, "a/b", good, 0, `id "a/b": want one without a slash`},
		{client, testService, testAddr, Override{}, 0, "it says nothing, want a weight or draining; to end an override, lift it"},
		{client, testService, testAddr, good, -1, "limit: got -1ns, want 0 (until lifted) or 2s to 8760h0m0s"},
		{client, testService, testAddr, good, 2*time.Second - 1, "limit: got 1.999999999s, want 0 (until lifted) or 2s to 8760h0m0s"},
		{client, testService, testAddr, good, 8760*time.Hour + 1, "limit: got 8760h0m0.000000001s, want 0 (until lifted) or 2s to 8760h0m0s"},
	} {
		err := SetOverride(t.Context(), c.client, c.service, c.id, c.override, c.limit)
		require.EqualError(t, err, "etcdregistry: override: "+c.want)
	}
	_, err := LiftOverride(t.Context(), nil, testService, testAddr)
	require.EqualError(t, err, "etcdregistry: override: the etcd client is nil")
}

func FuzzDecodeOverride(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", `{"weight":3}`, `{"weight":"0"}`, `{"draining":true,"reason":"disk"}`,
		"{\"reason\":\"\xff\"}", `{"weight":1e3,"weight":2}`, `{"weight":1,"reason":"\ud800"}`,
	} {
		f.Add(testOverride, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		o, err := DecodeOverride(key, value)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			require.Less(t, len(err.Error()), 2000)
			return
		}
		require.LessOrEqual(t, o.Weight, uint32(attrs.MaxWeight))
		if o.Weight == 0 && !o.Draining {
			return // says nothing, and cannot be written
		}
		again, err := EncodeOverride(o)
		require.NoError(t, err)
		back, err := DecodeOverride(key, []byte(again))
		require.NoError(t, err)
		require.Equal(t, o, back)
	})
}
