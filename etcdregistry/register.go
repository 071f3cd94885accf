package etcdregistry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
)

// Registration is an instance that stands in etcd, made by [Register] or by a
// [Registrar]. Its methods may be called from many goroutines at once.
type Registration struct {
	registrar *Registrar
	only      bool // of its registrar, which goes with it
	inst      Instance
	key       *key
	closing   *closing
}

// Register puts inst into etcd as an instance of service and keeps it there until
// [Registration.Close], whatever happens to etcd, to the lease or to the key in the
// meantime.
//
// It blocks until the key stands. While etcd is down it tries again until ctx ends,
// so give ctx a deadline; it returns at once when another try is unlikely to help,
// as for a missing permission. Once Register has returned, ctx has no part in the
// registration any more.
//
// If the key is there already, it is taken over: a server that restarts on its old
// address need not wait for the old lease. Afterwards the newer of two owners wins, see
// the package comment. The error says which argument is wrong and what would be right,
// or what etcd said last. A Register that failed takes back what it has put, for which
// it may outlast ctx by up to 3s.
//
// A key that somebody deletes, or overwrites under no lease, is put back as soon as
// the watch of the key tells, and within TTL/2 if that fails. A value that somebody
// writes under its lease (etcdctl put --ignore-lease) stands until the next Update, or
// until the lease is lost; to overrule an instance for longer, see [SetOverride].
//
// The client may be shared and must stay open until Close. A client that should
// find out about dead connections needs DialKeepAliveTime, 10s or more. With etcd's
// namespace package, wrap its KV, Lease and Watcher. A registration costs one watch,
// one read of its key every TTL/2 and one renewal of its lease every TTL/3; for many in
// one process, see [Registrar].
func Register(ctx context.Context, client *clientv3.Client, service string, inst Instance, opts ...Option) (*Registration, error) {
	g, err := NewRegistrar(client, opts...)
	if err != nil {
		return nil, err
	}
	return g.registerOnly(ctx, service, inst)
}

// registerOnly makes the registrar's only registration, or closes it.
func (g *Registrar) registerOnly(ctx context.Context, service string, inst Instance) (*Registration, error) {
	r, err := g.register(ctx, service, inst, g.keeper.options, true)
	if err != nil {
		_ = g.close(ctx)
		return nil, err
	}
	return r, nil
}

// Update replaces the instance's attributes in etcd: weight, zone, labels and drain
// mark, all of them. The key stays under its lease and clients keep their
// connections.
//
// It blocks until the new value, or that of a later Update, stands in etcd. If ctx
// ends first or etcd refuses the write, it returns an error, but the value is kept:
// it will be written as soon as that is possible, and in place of the old one
// wherever the key has to be put again. A value that cannot be encoded (see
// [Encode]) changes nothing, nor does an Update after Close.
func (r *Registration) Update(ctx context.Context, a attrs.Attrs) error {
	inst := r.inst
	inst.Attrs = a
	standing, err := r.key.wish.update(inst)
	if err != nil {
		return r.failed(err)
	}
	return r.wait(ctx, standing, "kept, but not written yet")
}

// wait returns once the value stands, or why it does not.
func (r *Registration) wait(ctx context.Context, standing *answer, meanwhile string) error {
	select {
	case <-standing.done:
	case <-ctx.Done():
		select {
		case <-standing.done: // at the same moment: the truth is better than the deadline
		default:
			return r.failed(fmt.Errorf("%s: %w; last error: %s", meanwhile, ctx.Err(), r.key.wish.lastTrouble()))
		}
	}
	return r.failed(standing.err)
}

// failed says of which key an error is. It returns nil for nil.
func (r *Registration) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("etcdregistry: %s: %w", r.key.name, err)
}

// healthy hears from the server's health service.
func (r *Registration) healthy(serving bool) {
	if r.key.wish.setSick(!serving) {
		r.registrar.keeper.options.logger.Info("etcd registration: health", "key", r.key.name, "serving", serving)
	}
}

// Stats says how the registration fares. It does not block.
func (r *Registration) Stats() Stats {
	return r.registrar.keeper.stats(Stats{}, r.key)
}

// Close takes the instance out of service: it marks the key as draining, waits for
// the drain delay (see [WithDrainDelay]) and deletes the key, unless another owner has
// taken it over. The last registration takes its lease with it. Calls in flight are not
// Close's business: stop the gRPC server after it.
//
// It takes at most 3s, whatever etcd does. The end of ctx cuts the draining short, but
// never skips the removal of the key. An error means that etcd did not confirm the
// removal. Then the key of [Register] goes when its lease ends; that of a [Registrar]
// is removed as soon as etcd answers, and cannot be registered there again until then.
// All goroutines of the registration have ended when Close returns; those of a
// Registrar end with it. Further calls wait for the first and return the same.
func (r *Registration) Close(ctx context.Context) error {
	if r.only {
		return r.failed(r.registrar.close(ctx))
	}
	return r.failed(r.closing.do(func() error {
		err := r.registrar.keeper.retire(ctx, r.key)
		if errors.Is(err, errClosed) { // the Registrar closes, and takes the key along
			err = r.registrar.close(ctx)
		}
		return err
	}))
}

func checkKey(service, id string) error {
	switch {
	case service == "":
		return errors.New(`the service is empty, want a name such as "payments"`)
	case strings.HasSuffix(service, "/"):
		return fmt.Errorf("service %s: want a name that does not end with a slash", cut(service))
	case service == reserved, strings.HasPrefix(service, reserved+"/"):
		return fmt.Errorf("service %s: what is under %q is reserved for overrides and configs", cut(service), reserved+"/")
	case strings.Contains(id, "/"):
		return fmt.Errorf("id %s: want one without a slash", cut(id))
	}
	return nil
}
