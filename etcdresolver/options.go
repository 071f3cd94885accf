package etcdresolver

import (
	"log/slog"
	"time"

	"github.com/steelyard-go/steelyard/etcdregistry"
)

// defaultDebounce gathers what one deployment step changes and is too short to notice.
const defaultDebounce = 20 * time.Millisecond

// Option changes how a builder and all its resolvers work.
type Option func(*options)

type options struct {
	zone       string
	logger     *slog.Logger
	decode     Decoder // nil for etcdregistry.Decode
	debounce   time.Duration
	shrinkHold time.Duration
	emptyHold  time.Duration
	overrides  bool
	configKey  func(service string) string // gives "" for no service config
}

// Decoder reads the value that stands in etcd under key. An error, or an
// instance without an Addr, refuses the value: it costs that key only. Calls for
// one service never overlap, those for several may. It must return promptly, and
// must not keep value.
type Decoder = func(key string, value []byte) (etcdregistry.Instance, error)

func newOptions(opts []Option) options {
	o := options{
		logger:     slog.Default(),
		debounce:   defaultDebounce,
		shrinkHold: defaultShrinkHold,
		emptyHold:  defaultEmptyHold,
		overrides:  true,
		configKey:  func(string) string { return "" },
	}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithZone says in which zone this client runs, so that policies can prefer
// endpoints of the same zone. Unless told, it is unknown.
func WithZone(zone string) Option {
	return func(o *options) { o.zone = zone }
}

// WithLogger sends the log lines to logger; unless told, or with nil, to
// [slog.Default] as it was when the builder was made.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}

// WithDecoder reads values with decode; unless told, or with nil, with
// [etcdregistry.Decode].
func WithDecoder(decode Decoder) Option {
	return func(o *options) {
		if decode != nil {
			o.decode = decode
		}
	}
}

// WithDebounce lets changes gather until none came for window, or for ten times
// window since the first, before channels get them in one update. After three
// updates close together there is one in seven windows. Unless told the window is
// 20 ms, which makes ten updates in any second at most. With 0 or less channels get
// each change at once.
func WithDebounce(window time.Duration) Option {
	return func(o *options) { o.debounce = max(window, 0) }
}

// WithShrinkGuard sets for how long the shrink guard keeps endpoints: when at least
// three, and more than half of all, leave within 30 s without having been marked as
// draining, they stay this long after they left. That should be twice the TTL of
// the registrations, within which whoever lives has registered again; unless told
// it is 40 s, twice the default TTL. 0 or less turns the guard off.
func WithShrinkGuard(hold time.Duration) Option {
	return func(o *options) { o.shrinkHold = max(hold, 0) }
}

// WithEmptyGuard sets for how long the empty guard keeps the last endpoints when all
// are gone, unless they were marked as draining: unless told, 10 minutes. With 0
// or less an empty list is believed at once.
func WithEmptyGuard(hold time.Duration) Option {
	return func(o *options) { o.emptyHold = max(hold, 0) }
}

// WithServiceConfig has channels follow the service config that stands under key in
// etcd, as JSON: one put switches the policy of all clients. An empty key means
// [etcdregistry.ConfigKey] of the service, steelyard/config/<service>. A config that
// gRPC refuses is logged, and the last good one stays in each channel that has it. Until there is one, channels go
// by their default service config. To end a config put another: when the key is
// deleted gRPC keeps the last one in a channel that has it.
func WithServiceConfig(key string) Option {
	return func(o *options) {
		o.configKey = etcdregistry.ConfigKey
		if key != "" {
			o.configKey = func(string) string { return key }
		}
	}
}

// WithoutOverrides has channels ignore what operators set from outside (see
// [etcdregistry.Override]). It saves a watch per service.
func WithoutOverrides() Option {
	return func(o *options) { o.overrides = false }
}
