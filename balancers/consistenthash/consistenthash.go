// Package consistenthash is the policy steelyard_consistent_hash: calls with
// the same key go to the same backend, in every client.
//
//	import _ "github.com/steelyard-go/steelyard/balancers/consistenthash"
//
//	{"loadBalancingConfig": [{"steelyard_consistent_hash": {
//		"requestHashHeader": "x-user-id", "onMissingKey": "random", "boundedLoadFactor": 0}}]}
//
// The key is the one of [WithKey] or, without it, the request header named in
// the config, by the rules of gRFC A76. Its xxhash64 is looked up on a ring
// (Karger et al., Consistent Hashing and Random Trees, 1997) on which each
// endpoint has points in proportion to its weight. The ring holds all endpoints
// of the resolver's list, connected or not: one that is down or drains moves
// its own keys only, each to its next choice, and gets them back. Addresses and
// integer arithmetic decide, so all processes on all architectures agree.
//
// With boundedLoadFactor c a backend holds at most max(8, ⌈c·(n+1)·w/W⌉) calls
// of this channel in flight, n being the channel's calls in flight and w/W the
// backend's share of the weight; what is over goes to the key's next choice
// (Mirrokni, Thorup, Zadimoghaddam, Consistent Hashing with Bounded Loads, 2017).
//
// It is good for caches and sessions. It evens out keys, not calls: one hot key
// is one hot backend, unless the load is bounded.
//
// Limits: backends that are alike have 256 points each, 16 bytes a point, so
// shares are even to a tenth for ten backends and a quarter for a hundred and
// more (peak to average), those of light backends less; building the
// ring is part of taking a new list over. Where weights differ a change of one
// moves some keys of the others too. A key from the metadata costs a copy of the
// call's metadata, which gRPC makes. With "fail" a pick fails with
// InvalidArgument, but gRPC lets no policy fail calls with that code (gRFC A54):
// the caller gets it as Internal, with the text.
package consistenthash

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/balancers"
)

// Name is what service configs call the policy.
const Name = "steelyard_consistent_hash"

// What becomes of a call without a key.
const (
	// Random sends it to a backend drawn at random by weight.
	Random = "random"
	// Fail fails it with InvalidArgument.
	Fail = "fail"
)

// Config is the policy's config.
type Config struct {
	// RequestHashHeader names the request header that holds the key; "", the
	// default, means that only [WithKey] gives one. Binary headers ("-bin")
	// are refused.
	RequestHashHeader string `json:"requestHashHeader,omitempty"`
	// OnMissingKey is [Random], the default, or [Fail].
	OnMissingKey string `json:"onMissingKey,omitempty"`
	// BoundedLoadFactor bounds a backend's calls in flight at this multiple of
	// its share, 1 to 1000; 0, the default, sets no bound.
	BoundedLoadFactor float64 `json:"boundedLoadFactor,omitempty"`
}

var defaults = Config{OnMissingKey: Random}

const maxLoadFactor = 1000

// ServiceConfig returns the service config JSON that chooses this policy.
func (c Config) ServiceConfig() string { return balancers.ServiceConfig(Name, c) }

// Validate reports the first field that is out of range.
func (c Config) Validate() error {
	header := strings.ToLower(c.RequestHashHeader)
	switch {
	case strings.HasSuffix(header, "-bin"):
		return fmt.Errorf("requestHashHeader: got %.80q, want a text header: those that end in -bin are binary", c.RequestHashHeader)
	case strings.HasPrefix(header, "grpc-"), strings.Trim(header, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "":
		return fmt.Errorf("requestHashHeader: got %.80q, want a header name of letters, digits, '-', '_' and '.', not starting with grpc-", c.RequestHashHeader)
	case c.OnMissingKey != Random && c.OnMissingKey != Fail:
		return fmt.Errorf("onMissingKey: got %.40q, want %q or %q", c.OnMissingKey, Random, Fail)
	case c.BoundedLoadFactor != 0 && !(c.BoundedLoadFactor >= 1 && c.BoundedLoadFactor <= maxLoadFactor):
		return fmt.Errorf("boundedLoadFactor: got %v, want 0 for no bound, or 1 to %d", c.BoundedLoadFactor, maxLoadFactor)
	}
	return nil
}

func init() { balancers.RegisterPolicy(Name, defaults, newPolicy) }

// NewPickerBuilder returns the policy as a builder of pickers for gRPC's base
// balancer and for unit tests: see [balancers.NewPickerBuilder]. Built this
// way, the ring holds the READY backends only.
func NewPickerBuilder(cfg Config) base.PickerBuilder {
	return balancers.NewPickerBuilder(Name, cfg, defaults, newPolicy)
}

// newPolicy keeps the ring from one build to the next: it changes only with
// the membership and the weights, not with every connection.
func newPolicy() balancers.Policy[Config] {
	var (
		members []member
		current *ring
		total   = new(balancers.Load)
	)
	return func(cfg Config, s balancers.Snapshot) balancer.Picker {
		if now := membersOf(s); current == nil || !slices.Equal(now, members) {
			members, current = now, newRing(now)
		}
		p := picker{
			ring:     current,
			header:   strings.ToLower(cfg.RequestHashHeader),
			subConns: make([]balancer.SubConn, len(s.Members)),
		}
		for i, m := range s.Members {
			p.subConns[i] = m.SubConn
		}
		if cfg.OnMissingKey == Fail {
			p.missing = missingKey(p.header)
		}
		if cfg.BoundedLoadFactor == 0 {
			return &p
		}
		return newBounded(p, cfg.BoundedLoadFactor, s, total)
	}
}

func membersOf(s balancers.Snapshot) []member {
	members := make([]member, len(s.Members))
	for i, m := range s.Members {
		members[i] = member{addr: m.Address.Addr, weight: m.Attrs.Weight}
	}
	return members
}

func missingKey(header string) error {
	if header == "" {
		return status.Errorf(codes.InvalidArgument, "%s: the call has no key: set one with consistenthash.WithKey", Name)
	}
	return status.Errorf(codes.InvalidArgument, "%s: the call has no key: set the header %q in its outgoing metadata, or a key with consistenthash.WithKey", Name, header)
}

type picker struct {
	ring     *ring
	header   string
	missing  error              // what a call without a key gets, nil for a backend at random
	subConns []balancer.SubConn // of the ring's members, nil for one that takes no calls
}

// hash returns where on the ring the call belongs.
func (p *picker) hash(info balancer.PickInfo) (uint64, error) {
	key, ok := keyOf(info.Ctx, p.header)
	switch {
	case ok:
		return xxhash.Sum64String(key), nil
	case p.missing != nil:
		return 0, p.missing
	default:
		return rand.Uint64(), nil
	}
}

func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	hash, err := p.hash(info)
	if err != nil {
		return balancer.PickResult{}, err
	}
	for m := range p.ring.choices(hash) {
		if sc := p.subConns[m]; sc != nil {
			return balancer.PickResult{SubConn: sc}, nil
		}
	}
	return balancer.PickResult{}, balancer.ErrNoSubConnAvailable // not while one member takes calls
}
