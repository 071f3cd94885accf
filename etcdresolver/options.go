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
	zone     string
	logger   *slog.Logger
	decode   Decoder
	debounce time.Duration
}

// Decoder reads the value that stands in etcd under key. An error, or an
// instance without an Addr, refuses the value: it costs that key only. It is
// called from one goroutine per service, must return promptly, and must not
// keep value.
type Decoder = func(key string, value []byte) (etcdregistry.Instance, error)

func newOptions(opts []Option) options {
	o := options{logger: slog.Default(), decode: etcdregistry.Decode, debounce: defaultDebounce}
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
// window since the first, before channels get them in one update. Unless told
// it is 20 ms. With 0 or less channels get each change at once.
func WithDebounce(window time.Duration) Option {
	return func(o *options) { o.debounce = max(window, 0) }
}
