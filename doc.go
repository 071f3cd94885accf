// Package steelyard is a collection of load-balancing policies for gRPC-Go,
// with discovery through etcd that puts each backend's weight and zone on its
// address. It holds no code itself:
//
//   - [github.com/steelyard-go/steelyard/balancers/all] registers the policies,
//     packages beside it describe them, and package balancers is the frame to
//     write your own with;
//   - [github.com/steelyard-go/steelyard/etcdregistry] is the server's side of
//     discovery, [github.com/steelyard-go/steelyard/etcdresolver] the client's;
//   - [github.com/steelyard-go/steelyard/attrs] is what both meet in;
//   - [github.com/steelyard-go/steelyard/balancertest] has the fakes to unit-test
//     pickers and policies with.
package steelyard
