// Package consistenthash is the policy steelyard_consistent_hash: calls with
// the same key go to the same backend, in every client.
//
//	import _ "github.com/steelyard-go/steelyard/balancers/consistenthash"
//
//	{"loadBalancingConfig": [{"steelyard_consistent_hash": {
//		"requestHashHeader": "x-user-id", "onMissingKey": "random", "boundedLoadFactor": 0}}]}
//
// The key is the one of [WithKey] or, without it, the request header named in
// the config, by the rules of gRFC A76. Its xxhash64 belongs to one of 131,072
// slots, and a table says whose each slot is. Slots go to endpoints by weighted
// rendezvous (Thaler and Ravishankar, Using Name-Based Mappings to Increase Hit
// Rates, 1998), with a limit to what an endpoint may have: 1.05 times its share
// of the weight up to 1,000 endpoints, 1.1 times beyond 2,000. The
// table holds all endpoints of the resolver's list, connected or not: one that is
// down or drains moves its own keys only, each to its next choice, and gets them
// back. Addresses, weights and integer arithmetic decide, and nothing that was
// before: all processes on all architectures agree.
//
// With boundedLoadFactor c a backend holds at most max(8, ⌈c·(n+1)·w/W⌉) calls
// of this channel in flight, n being the channel's calls in flight and w/W the
// backend's share of the weight; what is over goes to the key's next choice
// (Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads, 2018).
// Calls that began before there was a bound are in neither count.
//
// It is good for caches and sessions: a backend that leaves the list, comes or
// changes its weight moves hardly a key more than it must up to a hundred
// backends, and up to twice as many with thousands. It evens out keys, not calls:
// one hot key is one hot backend, unless the load is bounded.
//
// A table takes 256 KiB a channel up to 256 backends, 512 KiB up to 65,536 and
// 1 MiB beyond, and some 60 bytes for each backend; all channels share another MiB.
// While a table is being made it takes 2 to 8 MiB more up to 10,000 backends. Built
// from the beginning it takes 10 milliseconds with two backends, 20 to 30 with a
// hundred or a thousand, 40 with 10,000, 100 with 100,000. Where few of the backends
// came, left or changed their weight, three of them at the most left and one in twenty
// changed, and the weights' greatest common divisor is the same, it is the former table
// updated, which takes a third of that with a hundred and up to thousands of backends,
// two thirds with 10,000. An update makes the very table that a build makes.
//
// That happens in the background but for a channel's first table: until the new one
// is there the old one serves, without those who left. A burst of changes makes
// one table, 5 milliseconds after its first; after a table the next one waits four
// times what that took, 100 milliseconds at the most, and not at all when most of the
// backends are not in the table.
//
// Limits: the limit to shares is one to the top. Below, chance decides: one whose
// share is s slots has s-3√s at the least, nine tenths of its share among a hundred
// alike, three quarters among 1,000, a fifth among 10,000; with less than nine slots,
// one of thousands may have none. Shares under four slots, beyond 32,768 backends,
// are whole slots, up to twice the share. Where one backend has nearly all of the weight, its keys are not
// shared out by weight while it is away. An endpoint goes by its first address: a
// resolver that tells several in changing order moves its keys. A key from the metadata costs a copy of the call's metadata, which gRPC
// makes. With "fail" a pick fails with InvalidArgument, but gRPC lets no policy fail
// calls with that code (gRFC A54): the caller gets it as Internal, with the text.
package consistenthash

import (
	"fmt"
	"math/rand/v2"
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

const (
	headerChars   = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	maxLoadFactor = 1000
)

// ServiceConfig returns the service config JSON that chooses this policy.
func (c Config) ServiceConfig() string { return balancers.ServiceConfig(Name, c) }

// Validate reports the first field that is out of range.
func (c Config) Validate() error {
	header := strings.ToLower(c.RequestHashHeader)
	switch {
	case strings.HasSuffix(header, "-bin"):
		return fmt.Errorf("requestHashHeader: got %.80q, want a text header: those that end in -bin are binary", c.RequestHashHeader)
	case strings.HasPrefix(header, "grpc-"), strings.Trim(c.RequestHashHeader, headerChars) != "":
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
// way, the table holds the READY backends only, and each Build makes it anew.
func NewPickerBuilder(cfg Config) base.PickerBuilder {
	return balancers.NewPickerBuilder(Name, cfg, defaults, newPolicy)
}

// newPolicy keeps the table from one build to the next: it changes only with
// the membership and the weights, not with every connection.
func newPolicy() balancers.Policy[Config] {
	tables := &tables{build: updated}
	total := new(balancers.Load)
	return func(cfg Config, s balancers.Snapshot) balancer.Picker {
		table, members := tables.serving(s)
		p := picker{
			table:    table,
			header:   strings.ToLower(cfg.RequestHashHeader),
			subConns: make([]balancer.SubConn, len(members)),
		}
		for i := range members {
			p.subConns[i] = members[i].SubConn
		}
		if cfg.OnMissingKey == Fail {
			p.missing = missingKey(p.header)
		}
		if cfg.BoundedLoadFactor == 0 {
			return &p
		}
		return newBounded(p, cfg.BoundedLoadFactor, members, total)
	}
}

func missingKey(header string) error {
	if header == "" {
		return status.Errorf(codes.InvalidArgument, "%s: the call has no key: set one with consistenthash.WithKey", Name)
	}
	return status.Errorf(codes.InvalidArgument, "%s: the call has no key: set the header %q in its outgoing metadata, or a key with consistenthash.WithKey", Name, header)
}

type picker struct {
	table    *table
	header   string
	missing  error              // what a call without a key gets, nil for a backend at random
	subConns []balancer.SubConn // of the table's members, nil for one that takes no calls
}

// hash returns the hash of the call's key, or a random one.
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
	return p.PickBut(nil, info)
}

// PickBut implements [balancers.Sparing].
func (p *picker) PickBut(left func(balancer.SubConn) bool, info balancer.PickInfo) (balancer.PickResult, error) {
	hash, err := p.hash(info)
	if err != nil {
		return balancer.PickResult{}, err
	}
	for m := range p.table.preferences(hash) {
		if sc := p.subConns[m]; sc != nil && (left == nil || !left(sc)) {
			return balancer.PickResult{SubConn: sc}, nil
		}
	}
	return balancer.PickResult{}, balancer.ErrNoSubConnAvailable // all that take calls are new: their table is on its way
}
