package simulation

import (
	"context"

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

// policy is a line of the table: all that the simulation knows of a policy. The
// first two fields are enough for most.
type policy struct {
	label  string // what results call it
	lb     string // the name it is registered under
	config string // its own config as JSON, "" for none

	context func(key string) context.Context // of a call with that key, nil when the policy asks for none

	// maxConns leaves the policy out where all clients together have more
	// connections, 0 for never. It is for one that cannot connect them in time.
	maxConns int

	reports bool // the servers report their load to it with each answer
	variant bool // runs only in scenarios that ask for it
	stock   bool // comes with gRPC-Go
}

const hashHeader = "x-user-id"

// The labels that scenarios name.
const (
	ourRoundRobin = "round_robin"
	ourWeighted   = "weighted"
	ourP2C        = "p2c"
	stockLeast    = "stock_least_request"

	roundRobinZonesOff = "round_robin_zones_off"
	weightedZonesOff   = "weighted_zones_off"
	p2cZonesOff        = "p2c_zones_off"

	roundRobinSlowStart = "round_robin_slow_start"
	weightedSlowStart   = "weighted_slow_start"
	p2cSlowStart        = "p2c_slow_start"

	weightedSmooth = "weighted_smooth"
	consistentHash = "consistent_hash"
	hashBounded    = "hash_bounded"
	p2cReports     = "p2c_reports"
)

var policies = []policy{
	{label: ourRoundRobin, lb: roundrobin.Name},
	{label: ourWeighted, lb: weighted.Name},
	{label: ourP2C, lb: p2c.Name},
	{label: "p2c_requests", lb: p2c.Name, config: `{"load":"requests"}`},

	{label: weightedSmooth, lb: weighted.Name, config: `{"schedule":"smooth"}`, variant: true},
	{label: consistentHash, lb: consistenthash.Name, context: withKey, variant: true},
	{label: hashBounded, lb: consistenthash.Name, config: `{"boundedLoadFactor":1.25}`, context: withKey, variant: true},
	{label: p2cReports, lb: p2c.Name, reports: true, variant: true},
	{label: roundRobinZonesOff, lb: roundrobin.Name, config: `{"zonePreference":"off"}`, variant: true},
	{label: weightedZonesOff, lb: weighted.Name, config: `{"zonePreference":"off"}`, variant: true},
	{label: p2cZonesOff, lb: p2c.Name, config: `{"zonePreference":"off"}`, variant: true},
	{label: roundRobinSlowStart, lb: roundrobin.Name, config: `{"slowStart":"30s"}`, variant: true},
	{label: weightedSlowStart, lb: weighted.Name, config: `{"slowStart":"30s"}`, variant: true},
	{label: p2cSlowStart, lb: p2c.Name, config: `{"slowStart":"30s"}`, variant: true},

	{label: "stock_round_robin", lb: stockroundrobin.Name, stock: true},
	// Without a blackout it uses the reports from the first second on.
	{label: "stock_weighted_round_robin", lb: weightedroundrobin.Name, config: `{"blackoutPeriod":"0s"}`, reports: true, stock: true},
	{label: stockLeast, lb: leastrequest.Name, config: `{"choiceCount":2}`, stock: true},
	// It connects a backend when a key first asks for it, and then looks at all
	// others: with 1,000 that takes minutes. More clients do not change what it does.
	{label: "stock_ring_hash", lb: ringhash.Name, config: `{"requestHashHeader":"` + hashHeader + `"}`, context: withHeader, maxConns: 1000, stock: true},
}

func withKey(key string) context.Context {
	return consistenthash.WithKey(context.Background(), key)
}

func withHeader(key string) context.Context {
	return metadata.NewOutgoingContext(context.Background(), metadata.Pairs(hashHeader, key))
}
