// Package all registers all policies of Steelyard, for use by name in service
// configs:
//
//	import _ "github.com/steelyard-go/steelyard/balancers/all"
package all

import (
	// Each registers its policy from an init function.
	_ "github.com/steelyard-go/steelyard/balancers/consistenthash"
	_ "github.com/steelyard-go/steelyard/balancers/p2c"
	_ "github.com/steelyard-go/steelyard/balancers/roundrobin"
	_ "github.com/steelyard-go/steelyard/balancers/weighted"
)
