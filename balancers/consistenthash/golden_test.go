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
// a key goes. Whoever has to change these vectors moves the keys of everyone
// who upgrades one client before the other.
var golden = []struct{ key, alike, weighted string }{
	{"", "[2001:db8::1]:443", "10.0.0.1:8080"},
	{"a", "cache-a.example.com:80", "cache-a.example.com:80"},
	{"b", "10.0.0.1:8080", "[2001:db8::1]:443"},
	{"user-1", "10.0.0.2:8080", "cache-a.example.com:80"},
	{"user-2", "cache-a.example.com:80", "cache-a.example.com:80"},
	{"user-3", "10.0.0.2:8080", "unix:/run/cache.sock"},
	{"user-4", "10.0.0.1:8080", "cache-a.example.com:80"},
	{"alice", "cache-a.example.com:80", "cache-a.example.com:80"},
	{"bob", "[2001:db8::1]:443", "[2001:db8::1]:443"},
	{"a,b", "10.0.0.2:8080", "[2001:db8::1]:443"},
	{"A", "10.0.0.1:8080", "cache-a.example.com:80"},
	{"ü", "cache-a.example.com:80", "cache-a.example.com:80"},
	{"日本", "10.0.0.1:8080", "cache-a.example.com:80"},
	{"\x00", "unix:/run/cache.sock", "unix:/run/cache.sock"},
	{"192.0.2.1", "10.0.0.1:8080", "unix:/run/cache.sock"},
	{"550e8400-e29b-41d4-a716-446655440000", "unix:/run/cache.sock", "unix:/run/cache.sock"},
	{"session/7f3a", "unix:/run/cache.sock", "unix:/run/cache.sock"},
	{"key with spaces", "[2001:db8::1]:443", "[2001:db8::1]:443"},
	{"0", "[2001:db8::1]:443", "[2001:db8::1]:443"},
	{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "cache-a.example.com:80", "cache-a.example.com:80"},
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
