// Package balancers is the frame that turns a picker function into a gRPC
// load-balancing policy. It does for the policies of this module, and for
// yours, what every policy needs and few get right; a policy is left with the
// one thing that is its own, the choice of a backend.
//
//	import "github.com/steelyard-go/steelyard/balancers"
//
// A policy is a function from the backends that can take calls to a picker:
//
//	func init() {
//		balancers.Register("my_first", struct{}{}, func(_ struct{}, backends []balancers.Backend) balancer.Picker {
//			return first{backends[0].SubConn}
//		})
//	}
//
// The frame calls it whenever what it was built from has changed: a backend
// became READY or left it, a weight or a drain mark changed, the config did.
// It holds the connections (one backend per endpoint, tried address by address
// as gRFC A61 asks), listens to connectivity and health, parses the config,
// and keeps what is known of a backend across every rebuild.
//
// Limit: an endpoint counts as the same one while its set of addresses is the
// same. One that returns to the list after it was gone starts anew.
package balancers
