// Package etcdregistry is the server's side of discovery through etcd: the format
// in which the instances of a service stand there, and a registration that keeps
// one of them standing.
//
//	import "github.com/steelyard-go/steelyard/etcdregistry"
//
// An instance of the service payments stands under payments/<id>, the id being its
// address unless it says otherwise:
//
//	payments/10.0.0.7:8080
//	{"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"draining":false,"version":"1.4.2","weight":5,"zone":"eu-1a"}}
//
// This is what etcd's own naming package writes and reads, with weight, zone and
// drain mark in the Metadata. A bare host:port is read as well.
//
// [Register] puts the key under a lease and holds it from then on: a lease that is
// lost, a key that somebody deletes, an etcd that is down or restarts, all heal
// without the caller. [Registration.Update] changes weight, zone, labels or drain
// mark in place, [Registration.Close] takes the instance out of service.
//
// A key names one instance. Of two processes that register the same service and ID
// the one that came last holds the key; the other leaves it alone and takes it up
// again once it is free.
package etcdregistry
