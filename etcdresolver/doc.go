// Package etcdresolver finds the servers of a service in etcd and follows them:
// it is the gRPC resolver for targets etcd:///service.
//
//	import "github.com/steelyard-go/steelyard/etcdresolver"
//
//	client, err := clientv3.New(clientv3.Config{
//		Endpoints:            []string{"10.0.0.1:2379", "10.0.0.2:2379"},
//		DialTimeout:          5 * time.Second,
//		DialKeepAliveTime:    10 * time.Second,
//		DialKeepAliveTimeout: 3 * time.Second,
//	})
//	...
//	etcd := etcdresolver.NewBuilder(client, etcdresolver.WithZone("eu-1a")) // one for all channels
//	conn, err := grpc.NewClient("etcd:///payments",
//		grpc.WithResolvers(etcd),
//		grpc.WithTransportCredentials(creds),
//		grpc.WithDefaultServiceConfig(p2c.Config{}.ServiceConfig()))
//
// An instance stands under <service>/<id>, as package etcdregistry writes it;
// [WithDecoder] reads other values. The service may contain slashes, and only
// its direct children belong to it: payments sees neither payments-eu/x nor
// payments/eu/x. Weight, zone, drain mark and labels reach the balancing
// policies as package attrs carries them, on Endpoints and Addresses alike; a
// change of them costs no connection. An address under several keys counts
// once: a key that does not drain goes before one that does, then the key
// made last, then the first by name.
//
// # What happens in trouble
//
// Each service is listed, linearizably, and then watched from the revision of
// the list. Whatever ends the watch, or ten seconds without an answer from
// etcd, leads to a new list: at once after a compaction, else after a random
// wait that grows to five seconds. Only an answer of etcd changes the list;
// while there is none the last list stays, however long that takes. A channel
// that wakes from idle starts with the list its builder remembers.
//
//   - etcd is down when the channel is made: within a second calls fail with
//     code Unavailable and a text that names the service, etcd's endpoints and
//     the cause; calls that wait for ready go on waiting.
//   - Nobody is registered: calls fail at once with a text that says so.
//   - A value cannot be read: it is logged, once, and costs its key only, which
//     keeps its last good value.
//
// Transitions are logged with their cause and revision. Of gRPC's own policies
// pick_first passes these texts on to the caller; round_robin says "no children
// to pick from" instead.
//
// # Limits
//
// Changes gather for 20 ms (see [WithDebounce]) before channels get them. An
// empty list from etcd is believed: when all registrations are deleted, or all
// leases run out, calls fail. A connection to etcd that is cut without a word is
// noticed after ten seconds, and redialled only as the client is configured:
// set DialKeepAliveTime. A builder remembers the last list of every service it
// was ever asked for. With TLS, the name in the servers' certificates is by
// default the service; see grpc.WithAuthority.
package etcdresolver
