package etcdregistry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Registrar registers any number of instances over one client, under one lease: a
// process that serves many services renews one lease, not many. Its methods may be
// called from many goroutines at once.
type Registrar struct {
	keeper  *keeper
	stop    context.CancelFunc // ends the keeper's loop
	closing *closing
}

// NewRegistrar returns a Registrar without registrations. It does not talk to etcd yet:
// the lease is taken with the first registration, and given back with the last one.
//
// The options are the defaults of its registrations. The client may be shared and must
// stay open until [Registrar.Close]. A client that should find out about dead
// connections needs DialKeepAliveTime, 10s or more.
func NewRegistrar(client *clientv3.Client, opts ...Option) (*Registrar, error) {
	if client == nil {
		return nil, errors.New("etcdregistry: the etcd client is nil")
	}
	if client.Ctx().Err() != nil {
		return nil, errors.New("etcdregistry: the etcd client is closed")
	}
	return newRegistrar(etcd{client}, opts)
}

func newRegistrar(store store, opts []Option) (*Registrar, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("etcdregistry: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	g := &Registrar{keeper: newKeeper(store, o), stop: stop, closing: newClosing()}
	go g.keeper.run(ctx)
	return g, nil
}

// Register is [Register] over the registrar's client and lease. Two registrations of
// one registrar cannot have the same key at a time. [WithTTL] and [WithLogger] belong
// to [NewRegistrar] and are refused here.
func (g *Registrar) Register(ctx context.Context, service string, inst Instance, opts ...Option) (*Registration, error) {
	o, err := g.keeper.options.with(opts)
	if err == nil && (o.ttl != g.keeper.options.ttl || o.logger != g.keeper.options.logger) {
		err = errors.New("WithTTL and WithLogger belong to NewRegistrar: its registrations share a lease and a log")
	}
	if err != nil {
		return nil, fmt.Errorf("etcdregistry: %w", err)
	}
	return g.register(ctx, service, inst, o, false)
}

// register registers inst. Where it is the only registration, its Close closes the
// registrar.
func (g *Registrar) register(ctx context.Context, service string, inst Instance, o options, only bool) (*Registration, error) {
	if inst.ID == "" {
		inst.ID = inst.Addr
	}
	if err := checkKey(service, inst.ID); err != nil {
		return nil, fmt.Errorf("etcdregistry: %w", err)
	}
	wanted := desire{inst: inst, owner: newOwner(time.Now()), sick: o.health != nil}
	one := &key{name: Key(service, inst.ID), drainDelay: o.drainDelay}
	wish, standing, err := newWish(wanted, func() { g.keeper.wake(one) })
	if err != nil {
		return nil, fmt.Errorf("etcdregistry: %w", err)
	}
	one.wish = wish
	r := &Registration{registrar: g, only: only, closing: newClosing(), inst: inst, key: one}
	if o.health != nil {
		r.key.pulse = startPulse(o.health, o.healthService, o.logger, r.healthy)
		r.key.pulse.awaitFirst(ctx)
	}
	if err := g.keeper.add(r.key); err != nil {
		r.key.pulse.stop()
		return nil, r.failed(err)
	}
	if err := r.wait(ctx, standing, "not registered"); err != nil {
		_ = r.Close(ctx) // at best: what it cannot remove ends with the lease
		return nil, err
	}
	return r, nil
}

// Stats says how the registrations fare together. The counts include those that are
// closed. It does not block.
func (g *Registrar) Stats() Stats {
	g.keeper.mu.Lock()
	sum, keys := g.keeper.past, slices.Collect(maps.Values(g.keeper.keys))
	g.keeper.mu.Unlock()
	return g.keeper.stats(sum, keys...)
}

// Close takes all instances out of service as [Registration.Close] does, all at once,
// and ends the lease. It takes at most 3s, whatever etcd does. The end of ctx cuts the
// draining short, but never skips the removal. An error means that etcd did not confirm
// the removal; then the keys go when the lease ends. All goroutines have ended when
// Close returns. Further calls wait for the first and return the same; a Register
// after it fails.
func (g *Registrar) Close(ctx context.Context) error {
	if err := g.close(ctx); err != nil {
		return fmt.Errorf("etcdregistry: %w", err)
	}
	return nil
}

func (g *Registrar) close(ctx context.Context) error {
	return g.closing.do(func() error { return g.keeper.close(ctx, g.stop) })
}
