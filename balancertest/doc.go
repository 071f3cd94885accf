// Package balancertest tests load-balancing policies without a network.
//
//	import "github.com/steelyard-go/steelyard/balancertest"
//
// [NewSubConn] makes the connections that a picker chooses among: put them
// into a [google.golang.org/grpc/balancer/base.PickerBuildInfo] and test the
// picker alone. [NewChannel] hosts a whole registered policy, as gRPC's channel
// does: the test plays the resolver ([Channel.Update], [Channel.ResolverError])
// and the network ([Channel.Ready], [Channel.Fail], [Channel.Idle]) and reads
// what the policy makes of it ([Channel.Pick], [Channel.State]).
//
// The fakes keep gRPC's contract. A connection begins IDLE and is silent until
// the policy connects it; it goes through the states that a real one goes
// through; after its Shutdown it says SHUTDOWN once and nothing more. All that a
// channel tells its policy comes one at a time and never from inside a call
// that the policy makes, the first health update aside (see [WithQueuedHealth]).
// What the policy owes gRPC is checked too, and a breach fails the test: a
// connection without an address, a Connect after Shutdown, an UpdateState after
// Close, a health listener where none may be registered, a picker that returns
// somebody else's connection.
//
// Every operation takes constant time, so that a channel holds 10,000
// connections with ease. There is nothing behind a connection: no calls run on
// it and it has no producers.
package balancertest
