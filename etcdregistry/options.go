package etcdregistry

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

const (
	defaultTTL        = 20 * time.Second
	minTTL            = 2 * time.Second // etcd raises shorter ones
	maxTTL            = time.Hour
	defaultDrainDelay = 500 * time.Millisecond
)

// Option changes how [Register] and a [Registrar] work.
type Option func(*options)

// options are complete as newOptions makes them.
type options struct {
	// Of a registrar.
	ttl    time.Duration
	logger *slog.Logger
	// Of a registration.
	drainDelay    time.Duration
	health        healthpb.HealthServer // may be nil
	healthService string
}

// WithTTL sets how long the key outlives a server that died without
// [Registration.Close]: whole seconds from 2s to 1h, 20s by default. Below 15s, a
// member of etcd that hangs can cost the key for a while although the server lives.
// Registrations of one [Registrar] share it.
func WithTTL(ttl time.Duration) Option {
	return func(o *options) { o.ttl = ttl }
}

// WithDrainDelay sets how long [Registration.Close] leaves the key in etcd, marked
// as draining, for the clients to follow: 0 to 2s, 500ms by default.
func WithDrainDelay(delay time.Duration) Option {
	return func(o *options) { o.drainDelay = delay }
}

// WithLogger sets where changes of state are logged, with their causes; without it,
// that is [slog.Default]. Trouble that lasts is logged every 30s. Registrations of one
// [Registrar] share it.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) { o.logger = logger }
}

// WithHealth ties a registration to the server's own gRPC health service, such as a
// *health.Server, which is watched in process: the instance is marked as draining
// while the named service ("" is the server as a whole) is anything but SERVING, and
// is back when it serves. It drains too while the attributes given to [Register] or
// [Registration.Update] say so. [Register] waits for the first word for up to 1s and
// registers as draining without it.
//
// A health service that ends the watch is asked again within 1s; meanwhile its last
// word stands. Its Watch must return when the context of the stream ends, and may be
// called until [Registration.Close] has returned.
func WithHealth(server healthpb.HealthServer, service string) Option {
	return func(o *options) { o.health, o.healthService = server, service }
}

func newOptions(opts []Option) (options, error) {
	return options{ttl: defaultTTL, drainDelay: defaultDrainDelay, logger: slog.Default()}.with(opts)
}

// with returns the options changed by opts.
func (o options) with(opts []Option) (options, error) {
	for _, opt := range opts {
		opt(&o)
	}
	switch {
	case o.ttl < minTTL || o.ttl > maxTTL || o.ttl%time.Second != 0:
		return o, fmt.Errorf("TTL: got %v, want whole seconds from %v to %v", o.ttl, minTTL, maxTTL)
	case o.drainDelay < 0 || o.drainDelay > drainLimit:
		return o, fmt.Errorf("drain delay: got %v, want 0s to %v; to drain for longer, Update with Draining set before Close",
			o.drainDelay, drainLimit)
	case o.logger == nil:
		return o, errors.New("the logger is nil, leave the option out for slog.Default()")
	}
	return o, nil
}
