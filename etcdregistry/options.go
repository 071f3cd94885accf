package etcdregistry

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	defaultTTL        = 20 * time.Second
	minTTL            = 2 * time.Second // etcd raises shorter ones
	maxTTL            = time.Hour
	defaultDrainDelay = 500 * time.Millisecond
	maxDrainDelay     = drainLimit
)

// Option changes how [Register] works.
type Option func(*options)

type options struct {
	ttl        time.Duration
	drainDelay time.Duration
	logger     *slog.Logger
}

// WithTTL sets how long the key outlives a server that died without
// [Registration.Close]: whole seconds from 2s to 1h, 20s by default. Below 15s, a
// member of etcd that hangs can cost the key for a while although the server lives.
func WithTTL(ttl time.Duration) Option {
	return func(o *options) { o.ttl = ttl }
}

// WithDrainDelay sets how long [Registration.Close] leaves the key in etcd, marked
// as draining, for the clients to follow: 0 to 2s, 500ms by default.
func WithDrainDelay(delay time.Duration) Option {
	return func(o *options) { o.drainDelay = delay }
}

// WithLogger sets where the registration logs its changes of state and the causes;
// without it, that is [slog.Default]. Trouble that lasts is logged every 30s.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) { o.logger = logger }
}

func newOptions(opts []Option) (options, error) {
	o := options{ttl: defaultTTL, drainDelay: defaultDrainDelay, logger: slog.Default()}
	for _, opt := range opts {
		opt(&o)
	}
	switch {
	case o.ttl < minTTL || o.ttl > maxTTL || o.ttl%time.Second != 0:
		return o, fmt.Errorf("TTL: got %v, want whole seconds from %v to %v", o.ttl, minTTL, maxTTL)
	case o.drainDelay < 0 || o.drainDelay > maxDrainDelay:
		return o, fmt.Errorf("drain delay: got %v, want 0s to %v; to drain for longer, Update with Draining set before Close",
			o.drainDelay, maxDrainDelay)
	case o.logger == nil:
		return o, errors.New("the logger is nil, leave the option out for slog.Default()")
	}
	return o, nil
}
