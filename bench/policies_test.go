package bench

import (
	"context"
	"slices"

	"google.golang.org/grpc/balancer/leastrequest"
	"google.golang.org/grpc/balancer/ringhash"
	stockroundrobin "google.golang.org/grpc/balancer/roundrobin"
	"google.golang.org/grpc/balancer/weightedroundrobin"
	"google.golang.org/grpc/metadata"

	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancers/roundrobin"
	"github.com/steelyard-go/steelyard/balancers/weighted"
)

// policy is a line of the table: all that the benchmarks know of a policy. The
// first three fields are enough for one that needs no key and minds weights.
type policy struct {
	label  string // what the benchmarks call it
	lb     string // the name it is registered under
	config string // its own config as JSON, "" for none

	context func(key string) context.Context // of a call with that key, nil when the policy asks for none

	ignoresWeights bool // its shares are equal whatever the weights
	timesCalls     bool // prefers backends that are quick; which of the fakes are is chance
	rotates        bool // by weight, in a set order and not by a draw
	reports        bool // learns weights from load reports and not from the list
	lazy           bool // connects a backend when a call first wants it
	addresses      bool // knows nothing of endpoints
	variant        bool // differs from the line before in what a pick costs and nothing else
	stock          bool // comes with gRPC-Go
}

const hashHeader = "x-user-id"

var policies = []policy{
	{label: "round_robin", lb: roundrobin.Name, ignoresWeights: true},
	{label: "weighted_random", lb: weighted.Name, config: `{"schedule":"random"}`},
	{label: "weighted_smooth", lb: weighted.Name, config: `{"schedule":"smooth"}`, rotates: true},
	{label: "p2c", lb: p2c.Name, config: `{"load":"latency"}`, timesCalls: true},
	{label: "p2c_requests", lb: p2c.Name, config: `{"load":"requests"}`},
	{label: "hash_key", lb: consistenthash.Name, context: withKey},
	{
		label: "hash_header", lb: consistenthash.Name, config: `{"requestHashHeader":"` + hashHeader + `"}`,
		context: withHeader, variant: true,
	},
	{
		label: "hash_bounded", lb: consistenthash.Name, config: `{"boundedLoadFactor":1.25}`,
		context: withKey, variant: true,
	},

	{label: "stock_round_robin", lb: stockroundrobin.Name, ignoresWeights: true, stock: true},
	// Without a blackout the first report counts. Schedulers are made anew with
	// each list, see host.weigh, and not by the clock while something else is measured.
	{
		label: "stock_weighted_round_robin", lb: weightedroundrobin.Name, rotates: true, reports: true, stock: true,
		config: `{"blackoutPeriod":"0s","weightExpirationPeriod":"86400s","weightUpdatePeriod":"86400s"}`,
	},
	{label: "stock_least_request", lb: leastrequest.Name, config: `{"choiceCount":2}`, ignoresWeights: true, stock: true},
	{
		label: "stock_ring_hash", lb: ringhash.Name, config: `{"requestHashHeader":"` + hashHeader + `"}`,
		context: withHeader, lazy: true, stock: true,
	},
}

func withKey(key string) context.Context {
	return consistenthash.WithKey(context.Background(), key)
}

func withHeader(key string) context.Context {
	return metadata.NewOutgoingContext(context.Background(), metadata.Pairs(hashHeader, key))
}

// keyed tells that the policy maps calls by key.
func (p policy) keyed() bool { return p.context != nil }

// only returns the policies for which want holds.
func only(want func(policy) bool) []policy {
	return slices.DeleteFunc(slices.Clone(policies), func(p policy) bool { return !want(p) })
}

// distinct leaves variants out, for all that is not about the cost of a pick.
func distinct(p policy) bool { return !p.variant }
