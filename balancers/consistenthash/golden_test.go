package consistenthash_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// Clients of different releases, architectures and machines must agree on where
// a key goes. The vectors were computed from the package's documentation by
// another program in another language, xxhash64 included. Whoever has to change these vectors moves the keys of everyone
// who upgrades one client before the other.
var golden = []struct{ key, alike, weighted string }{
	{"", "unix:/run/cache.sock", "unix:/run/cache.sock"},
	{"a", "10.0.0.1:8080", "cache-a.example.com:80"},
	{"b", "10.0.0.1:8080", "[2001:db8::1]:443"},
	{"user-1", "10.0.0.2:8080", "10.0.0.2:8080"},
	{"user-2", "unix:/run/cache.sock", "unix:/run/cache.sock"},
	{"user-3", "10.0.0.1:8080", "10.0.0.2:8080"},
	{"user-4", "10.0.0.1:8080", "10.0.0.1:8080"},
	{"alice", "unix:/run/cache.sock", "unix:/run/cache.sock"},
	{"bob", "[2001:db8::1]:443", "[2001:db8::1]:443"},
	{"a,b", "cache-a.example.com:80", "cache-a.example.com:80"},
	{"A", "unix:/run/cache.sock", "unix:/run/cache.sock"},
	{"ü", "10.0.0.2:8080", "cache-a.example.com:80"},
	{"日本", "10.0.0.1:8080", "10.0.0.1:8080"},
	{"\x00", "unix:/run/cache.sock", "unix:/run/cache.sock"},
	{"192.0.2.1", "10.0.0.1:8080", "10.0.0.1:8080"},
	{"550e8400-e29b-41d4-a716-446655440000", "unix:/run/cache.sock", "unix:/run/cache.sock"},
	{"session/7f3a", "10.0.0.1:8080", "cache-a.example.com:80"},
	{"key with spaces", "[2001:db8::1]:443", "[2001:db8::1]:443"},
	{"0", "10.0.0.2:8080", "[2001:db8::1]:443"},
	{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "10.0.0.1:8080", "cache-a.example.com:80"},
}

func TestOwners_GoldenVectors(t *testing.T) {
	for i, tc := range golden {
		require.Equalf(t, tc.alike, owner(t, goldenPicker(1, 1, 1, 1, 1), tc.key), "vector %d: %q", i, tc.key)
		require.Equalf(t, tc.weighted, owner(t, goldenPicker(1, 2, 3, 5, 4), tc.key), "vector %d: %q", i, tc.key)
	}
}

// goldenPicker has members of the given weights at addresses of several kinds.
func goldenPicker(weights ...uint32) balancer.Picker {
	var list []resolver.Endpoint
	for i, addr := range []string{"10.0.0.1:8080", "10.0.0.2:8080", "[2001:db8::1]:443", "cache-a.example.com:80", "unix:/run/cache.sock"} {
		list = append(list, balancertest.Endpoint(addr, attrs.Attrs{Weight: weights[i]}))
	}
	return consistenthash.NewPickerBuilder(consistenthash.Config{}).Build(policytest.BuildInfo(list...))
}
