// Package etcdregistry is the server's side of discovery through etcd: the format
// in which the instances of a service stand there, and registrations that keep them
// standing.
//
//	import "github.com/steelyard-go/steelyard/etcdregistry"
//
// An instance of the service payments stands under payments/<id>, the id being its
// address unless it says otherwise:
//
//	payments/10.0.0.7:8080
//	{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"draining":false,"steelyard.owner":"5a0c…","steelyard.started":"2026-03-01T09:30:00.000Z","version":"1.4.2","weight":5,"zone":"eu-1a"}}
//
// This is what etcd's own naming package writes and reads, with weight, zone, drain
// mark and the registration that wrote it in the Metadata. A bare host:port is read as
// well.
//
// [Register] puts the key under a lease and holds it from then on: a lease that is
// lost, a key that somebody deletes, an etcd that is down or restarts, all heal
// without the caller. [Registration.Update] changes weight, zone, labels or drain
// mark in place, [Registration.Close] takes the instance out of service. A process
// with many instances gives them one lease with a [Registrar]. [WithHealth] marks an
// instance as draining while the server's health service says that it does not serve.
//
// A process that dies without Close leaves its key behind, until the lease ends: the
// TTL after its last renewal, 20s unless told. If the leader of etcd changes in
// that time, its leases begin anew.
//
// # Two owners of one key
//
// A key names one instance. Of two processes that register the same service and ID
// the one that started later holds the key, whatever their clocks say: a newcomer
// takes over what stands. A server that restarts on its address need not wait for its
// predecessor's lease, and the predecessor's late shutdown leaves the key alone. The
// older one logs the conflict, counts it in [Stats], leaves the key alone and looks
// again every 30s: once the key is free, it stands there again. The newer one puts its key back at
// once if the older overwrites it, but at most once a second. What others
// write to the key under a lease of their own, without saying when they started,
// counts as newer: the last writer holds the key. What is written under no lease is
// put back, and so is a key that was deleted.
//
// # What else stands in etcd
//
// Keys under steelyard/ are no instances: an operator's [Override] of one instance
// (see [SetOverride]) and a service's gRPC service config (see [ConfigKey]).
package etcdregistry
