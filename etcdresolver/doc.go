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
// [NewTargetBuilder] takes etcd's endpoints from the target instead:
// etcd://10.0.0.1:2379,10.0.0.2:2379/payments.
//
// # What stands where
//
//	payments/<id>                       an instance, as package etcdregistry writes it
//	steelyard/overrides/payments/<id>   what an operator says of it: etcdregistry.Override
//	steelyard/config/payments           the service config, with [WithServiceConfig]
//
// [WithDecoder] reads other values. The service may contain slashes, and only its
// direct children belong to it: payments sees neither payments-eu/x nor
// payments/eu/x. Weight, zone, drain mark and labels reach the balancing
// policies as package attrs carries them, on Endpoints and Addresses alike; a
// change of them costs no connection. An address under several keys counts
// once: a key that does not drain goes before one that does, then the key
// made last, then the first by name.
//
// An override names an instance by its id or, for registrations whose ids change,
// by its address. Its weight replaces that of the instance, that by id going before
// that by address; the instance drains if it, or any override of it, says so. A drained
// endpoint that left is held by no guard. A client that may not read the overrides or the config goes without,
// says so in the log, and asks again every half a minute.
//
// # What happens in trouble
//
// Instances, overrides and config are each listed, linearizably, and then watched
// from the revision of the list. Whatever ends a watch, or ten seconds without an
// answer from etcd, leads to a new list: at once after a compaction, else after a
// random wait that grows to five seconds. So does a reconnect, within four seconds,
// for the etcd that is there now may not be the one that was. Every five minutes a list is compared with what the watch told.
// Only an answer of etcd changes anything; while there is none the last list stays,
// however long that takes. A channel that wakes from idle starts with the list its
// builder remembers.
//
//   - etcd is down when the channel is made: within a second calls fail with
//     code Unavailable and a text that names the service, etcd's endpoints and
//     the cause; calls that wait for ready go on waiting.
//   - etcd has no majority then: the channel starts with what one member knows, and
//     follows the others once they answer.
//   - Nobody is registered: calls fail at once with a text that says so.
//   - More than half of the endpoints, three at least, leave within 30 s without
//     having been marked as draining: the shrink guard keeps them for 40 s after
//     they left (see [WithShrinkGuard]). When nobody is left the last endpoints stay for
//     ten minutes (see [WithEmptyGuard]). An outage of etcd ends leases whose servers
//     live; to those that do not the policies make no calls, for want of a connection.
//   - etcd is restored to an older revision, or replaced by another cluster: its list
//     is taken, through the guards.
//   - A value cannot be read: it is logged, once (at level debug after a hundred such
//     lines in a minute), and costs its key only, which keeps its last good value.
//
// Transitions are logged with their cause and revision. Of gRPC's own policies
// pick_first passes these texts on to the caller; round_robin says "no children
// to pick from" instead.
//
// What belongs to a channel is counted in gRPC's own metrics, which its
// OpenTelemetry plugin exports: steelyard.resolver.updates, .update_delay,
// .endpoints and .held_endpoints, by grpc.target. What all channels to a service
// share is in [Builder.Stats].
//
// # Limits
//
// Changes gather for 20 ms, 200 ms while they keep coming (see [WithDebounce]),
// before channels get them. A connection to etcd that is cut without a word is
// noticed after ten seconds, and redialled only as the client is configured:
// set DialKeepAliveTime. A builder remembers the last list of every service it
// was ever asked for. With TLS, the name in the servers' certificates is by
// default the service; see grpc.WithAuthority.
package etcdresolver
