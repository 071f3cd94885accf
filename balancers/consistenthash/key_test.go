package consistenthash_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// keys returns n keys.
func keys(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("user-%d", i)
	}
	return list
}

// owner returns where a call with key goes. It ends at once.
func owner(t *testing.T, picker balancer.Picker, key string) string {
	t.Helper()
	call := policytest.Begin(t, picker, consistenthash.WithKey(t.Context(), key))
	call.End()
	return call.Addr
}

// ownerByHeader returns where a call with the outgoing metadata kv goes.
func ownerByHeader(t *testing.T, picker balancer.Picker, kv ...string) string {
	t.Helper()
	call := policytest.Begin(t, picker, metadata.AppendToOutgoingContext(t.Context(), kv...))
	call.End()
	return call.Addr
}

// newPicker returns a picker for twenty backends. It remembers: the tests that ask
// for the same one leave no trace in it.
func newPicker(cfg consistenthash.Config) balancer.Picker {
	pickersMu.Lock()
	defer pickersMu.Unlock()
	if pickers[cfg] == nil {
		pickers[cfg] = consistenthash.NewPickerBuilder(cfg).Build(policytest.BuildInfo(policytest.Alike(20)...))
	}
	return pickers[cfg]
}

var (
	pickersMu sync.Mutex
	pickers   = make(map[consistenthash.Config]balancer.Picker)
)

func TestKey_TheHeaderIsTheKey(t *testing.T) {
	t.Parallel()
	picker := newPicker(consistenthash.Config{RequestHashHeader: "x-user-id"})
	for _, key := range append(keys(100), "", ",", "ü", "a b") {
		want := owner(t, picker, key)
		require.Equal(t, want, ownerByHeader(t, picker, "x-user-id", key))
		require.Equal(t, want, ownerByHeader(t, picker, "x-other", "1", "x-user-id", key, "x-another", "2"))
	}
}

func TestKey_WithKeyGoesBeforeTheHeader(t *testing.T) {
	t.Parallel()
	picker := newPicker(consistenthash.Config{RequestHashHeader: "x-user-id"})
	require.NotEqual(t, owner(t, picker, "user-1"), owner(t, picker, "user-3"), "or this test shows nothing")
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-user-id", "user-1")
	call := policytest.Begin(t, picker, consistenthash.WithKey(ctx, "user-3"))
	require.Equal(t, owner(t, picker, "user-3"), call.Addr)
	call = policytest.Begin(t, picker, metadata.AppendToOutgoingContext(consistenthash.WithKey(t.Context(), "user-3"), "x-user-id", "user-1"))
	require.Equal(t, owner(t, picker, "user-3"), call.Addr)
}

func TestKey_TheInnermostWithKeyCounts(t *testing.T) {
	t.Parallel()
	picker := newPicker(consistenthash.Config{})
	call := policytest.Begin(t, picker, consistenthash.WithKey(consistenthash.WithKey(t.Context(), "user-1"), "user-2"))
	require.Equal(t, owner(t, picker, "user-2"), call.Addr)
}

// gRFC A76: the values of a header that comes several times are joined by ",".
func TestKey_HeaderValuesAreJoinedByCommas(t *testing.T) {
	t.Parallel()
	picker := newPicker(consistenthash.Config{RequestHashHeader: "x-user-id"})
	for i, key := range keys(50) {
		other := fmt.Sprint(i)
		require.Equal(t, owner(t, picker, key+","+other), ownerByHeader(t, picker, "x-user-id", key, "x-user-id", other))
		require.Equal(t, owner(t, picker, key+",,"), ownerByHeader(t, picker, "x-user-id", key, "x-user-id", "", "x-user-id", ""))
	}
}

func TestKey_CaseOfTheHeadersNameDoesNotCount(t *testing.T) {
	t.Parallel()
	for _, configured := range consistenthash.Few(1, []string{"X-User-ID", "x-user-id", "X-USER-ID"}) {
		picker := newPicker(consistenthash.Config{RequestHashHeader: configured, OnMissingKey: consistenthash.Fail})
		for _, key := range keys(20) {
			for _, sent := range []string{"x-user-id", "X-User-Id"} {
				require.Equal(t, owner(t, picker, key), ownerByHeader(t, picker, sent, key))
			}
			ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{"X-uSer-id": {key}})
			require.Equal(t, owner(t, picker, key), policytest.Begin(t, picker, ctx).Addr)
		}
	}
}

func TestKey_CaseOfTheKeyCounts(t *testing.T) {
	t.Parallel()
	picker, differ := newPicker(consistenthash.Config{}), 0
	for i := range 50 {
		if owner(t, picker, fmt.Sprintf("User-%d", i)) != owner(t, picker, fmt.Sprintf("user-%d", i)) {
			differ++
		}
	}
	require.Greater(t, differ, 25)
}

func TestKey_TheEmptyKeyIsAKeyLikeAnyOther(t *testing.T) {
	t.Parallel()
	picker := newPicker(consistenthash.Config{RequestHashHeader: "x-user-id", OnMissingKey: consistenthash.Fail})
	want := owner(t, picker, "")
	for range 20 {
		require.Equal(t, want, owner(t, picker, ""))
		require.Equal(t, want, ownerByHeader(t, picker, "x-user-id", ""))
	}
}

func TestKey_MissingGoesAnywhereByWeight(t *testing.T) {
	t.Parallel()
	contexts := map[string]context.Context{
		"no metadata":    context.Background(),
		"another header": metadata.AppendToOutgoingContext(context.Background(), "x-other", "user-1"),
		"incoming only":  metadata.NewIncomingContext(context.Background(), metadata.Pairs("x-user-id", "user-1")),
		"no values":      metadata.NewOutgoingContext(context.Background(), metadata.MD{"x-user-id": {}}),
	}
	weights := []uint32{1, 1, 2, 4}
	c := policytest.Channel(t, consistenthash.Name, "", policytest.Endpoints(weights...)...)
	for _, config := range []string{`{}`, `{"requestHashHeader":"x-user-id"}`, `{"requestHashHeader":"x-user-id","boundedLoadFactor":2}`} {
		require.NoError(t, c.Configure(config))
		for name, ctx := range contexts {
			t.Run(config+" "+name, func(t *testing.T) {
				counts := c.Count(ctx, 20_000)
				for i, w := range weights { // six σ of the lightest, and what the table is off
					require.InEpsilonf(t, 2500*float64(w), counts[policytest.Addr(i)], 0.16, "weight %d: %v", w, counts)
				}
			})
		}
	}
}

func TestKey_MissingFailsWhereTheConfigSaysSo(t *testing.T) {
	t.Parallel()
	one := func(cfg consistenthash.Config) balancer.Picker {
		return consistenthash.NewPickerBuilder(cfg).Build(policytest.BuildInfo(policytest.Alike(1)...))
	}
	for _, factor := range []float64{0, 1.25} {
		picker := one(consistenthash.Config{RequestHashHeader: "X-User-ID", OnMissingKey: consistenthash.Fail, BoundedLoadFactor: factor})
		_, err := picker.Pick(balancer.PickInfo{Ctx: metadata.AppendToOutgoingContext(t.Context(), "x-other", "user-1")})
		require.Equal(t, codes.InvalidArgument, status.Code(err))
		require.EqualError(t, err, `rpc error: code = InvalidArgument desc = steelyard_consistent_hash: the call has no key: `+
			`set the header "x-user-id" in its outgoing metadata, or a key with consistenthash.WithKey`)
		require.NotEmpty(t, owner(t, picker, "user-1"))

		picker = one(consistenthash.Config{OnMissingKey: consistenthash.Fail, BoundedLoadFactor: factor})
		_, err = picker.Pick(balancer.PickInfo{Ctx: t.Context()})
		require.Equal(t, codes.InvalidArgument, status.Code(err))
		require.EqualError(t, err, `rpc error: code = InvalidArgument desc = steelyard_consistent_hash: the call has no key: `+
			`set one with consistenthash.WithKey`)
	}
}

// allocConfigs are those that a pick takes another way for.
var allocConfigs = []string{
	`{}`, `{"boundedLoadFactor":1.25}`, `{"requestHashHeader":"x-user-id"}`,
	`{"requestHashHeader":"x-user-id","boundedLoadFactor":1.25,"onMissingKey":"fail"}`,
}

// requireAllocs counts what a pick allocates, with the key's owner up, down, and
// with most backends down, so that the key goes far beyond its next choice.
func requireAllocs(t *testing.T, want float64, configs []string, ctx context.Context) {
	t.Helper()
	if policytest.RaceEnabled {
		t.Skip("a sync.Pool drops what it holds under the race detector")
	}
	for _, config := range configs {
		t.Run(config, func(t *testing.T) {
			c := policytest.Channel(t, consistenthash.Name, config, policytest.Alike(50)...)
			allocates := func() {
				t.Helper()
				picker := c.Picker()
				policytest.RequireAllocs(t, want, func() { pickAndDone(t, picker, balancer.PickInfo{Ctx: ctx}) })
			}
			allocates()
			c.Idle(owner(t, c.Picker(), "user-1"))
			allocates()
			for i := range 48 {
				c.Idle(policytest.Addr(i))
			}
			allocates()
		})
	}
}

func TestPicker_AllocatesNothingWithAKey(t *testing.T) {
	requireAllocs(t, 0, allocConfigs, consistenthash.WithKey(t.Context(), "user-1"))
}

func TestPicker_AllocatesNothingWithoutAKey(t *testing.T) {
	requireAllocs(t, 0, allocConfigs[:2], t.Context())
}

// What gRPC makes of it: metadata.FromOutgoingContext copies the whole map, and
// there is no public way round it.
func TestPicker_AllocatesOnlyWhatTheMetadataTakes(t *testing.T) {
	ctx := metadata.NewOutgoingContext(t.Context(), metadata.Pairs("x-user-id", "user-1", "x-other", "1"))
	read := testing.AllocsPerRun(1000, func() { metadata.FromOutgoingContext(ctx) })
	require.LessOrEqual(t, read, 4.0)
	requireAllocs(t, read, allocConfigs[2:], ctx)
}

func pickAndDone(t *testing.T, picker balancer.Picker, info balancer.PickInfo) {
	t.Helper()
	result, err := picker.Pick(info)
	if err != nil {
		t.Fatal(err)
	}
	if result.Done != nil {
		result.Done(balancer.DoneInfo{})
	}
}
