package etcdregistry

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// overruled is an etcd with one override, and no more of its calls than SetOverride
// and LiftOverride need.
type overruled struct {
	clientv3.KV
	clientv3.Lease
	prev     *mvccpb.KeyValue
	attached map[clientv3.LeaseID][]string // the keys that the client sees
	putFails error
	put      string
	granted  []int64
	revoked  []clientv3.LeaseID
}

const grantedLease = 0x2001

func (s *overruled) client() *clientv3.Client {
	client := clientv3.NewCtxClient(context.Background())
	client.KV, client.Lease = s, s
	return client
}

func (s *overruled) Close() error { return nil }

func (s *overruled) Grant(_ context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error) {
	s.granted = append(s.granted, ttl)
	return &clientv3.LeaseGrantResponse{ID: grantedLease, TTL: ttl}, nil
}

func (s *overruled) Put(_ context.Context, _, value string, _ ...clientv3.OpOption) (*clientv3.PutResponse, error) {
	s.put = value
	return &clientv3.PutResponse{PrevKv: s.prev}, s.putFails
}

func (s *overruled) Delete(context.Context, string, ...clientv3.OpOption) (*clientv3.DeleteResponse, error) {
	return &clientv3.DeleteResponse{Deleted: 1, PrevKvs: []*mvccpb.KeyValue{s.prev}}, nil
}

func (s *overruled) TimeToLive(ctx context.Context, id clientv3.LeaseID, _ ...clientv3.LeaseOption) (*clientv3.LeaseTimeToLiveResponse, error) {
	response := &clientv3.LeaseTimeToLiveResponse{ID: id}
	for _, key := range s.attached[id] {
		response.Keys = append(response.Keys, []byte(key))
	}
	return response, ctx.Err()
}

func (s *overruled) Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	s.revoked = append(s.revoked, id)
	return &clientv3.LeaseRevokeResponse{}, ctx.Err()
}

func TestSetOverride_NamesTheLeaseOfItsLimit(t *testing.T) {
	var s overruled
	o := Override{Weight: 3, Reason: "disk"}
	require.NoError(t, SetOverride(t.Context(), s.client(), testService, testAddr, o, 2001*time.Millisecond))
	require.Equal(t, []int64{3}, s.granted, "rounded up to seconds")
	require.Equal(t, `{"weight":3,"reason":"disk","lease":"0000000000002001"}`, s.put)
	got, err := DecodeOverride(testOverride, []byte(s.put))
	require.NoError(t, err)
	require.Equal(t, o, got)

	require.NoError(t, SetOverride(t.Context(), s.client(), testService, testAddr, o, 0))
	require.Len(t, s.granted, 1)
	require.Equal(t, `{"weight":3,"reason":"disk"}`, s.put)
	require.Empty(t, s.revoked)
}

func TestSetOverride_TakesItsBounds(t *testing.T) {
	for limit, want := range map[time.Duration]int64{2 * time.Second: 2, 365 * 24 * time.Hour: 31_536_000} {
		var s overruled
		require.NoError(t, SetOverride(t.Context(), s.client(), testService, testAddr, Override{Weight: 3}, limit))
		require.Equal(t, []int64{want}, s.granted)
	}
}

// That no other key is to be seen under a lease proves nothing: in a namespace, those
// outside are hidden.
func TestOverride_OnlyALeaseOfItsOwnGoesWithIt(t *testing.T) {
	const lease = 0x1007
	for _, c := range []struct {
		name, value string
		lease       int64
		attached    []string
		want        []clientv3.LeaseID
	}{
		{"its own", `{"weight":3,"lease":"0000000000001007"}`, lease, nil, []clientv3.LeaseID{lease}},
		{"put by hand", `{"weight":3}`, lease, nil, nil},
		{"put by hand, and bad", `draining`, lease, nil, nil},
		{"a copy under another lease", `{"weight":3,"lease":"0000000000001008"}`, lease, nil, nil},
		{"a copy under no lease", `{"weight":3,"lease":"0000000000001007"}`, 0, nil, nil},
		{"of another type", `{"weight":3,"lease":4103}`, lease, nil, nil},
		{"somebody put another key under it", `{"weight":3,"lease":"0000000000001007"}`, lease, []string{"other"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			prev := &mvccpb.KeyValue{Key: []byte(testOverride), Value: []byte(c.value), Lease: c.lease}
			s := overruled{prev: prev, attached: map[clientv3.LeaseID][]string{lease: c.attached}}
			require.NoError(t, SetOverride(t.Context(), s.client(), testService, testAddr, Override{Weight: 3}, 0))
			require.Equal(t, c.want, s.revoked)

			s.revoked = nil
			lifted, err := LiftOverride(t.Context(), s.client(), testService, testAddr)
			require.NoError(t, err)
			require.True(t, lifted)
			require.Equal(t, c.want, s.revoked)
		})
	}
}

// The error of a put does not say that it was not done.
func TestSetOverride_FailedPutGivesBackALeaseWithoutKeys(t *testing.T) {
	for _, c := range []struct {
		done []string
		want []clientv3.LeaseID
	}{{nil, []clientv3.LeaseID{grantedLease}}, {[]string{testOverride}, nil}} {
		s := overruled{putFails: errRefused, attached: map[clientv3.LeaseID][]string{grantedLease: c.done}}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // and its end may be why
		err := SetOverride(ctx, s.client(), testService, testAddr, Override{Weight: 3}, time.Hour)
		require.EqualError(t, err, "etcdregistry: "+testOverride+": put the key: connection refused")
		require.Equal(t, c.want, s.revoked)
	}
}
