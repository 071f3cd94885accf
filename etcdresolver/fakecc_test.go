package etcdresolver

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/steelyard-go/steelyard/attrs"
)

// fakeCC is a gRPC channel that notes what it is told.
type fakeCC struct {
	resolver.ClientConn
	resolver resolver.Resolver
	onUpdate func(resolver.State) error // called outside mu
	options  resolver.BuildOptions

	mu     sync.Mutex
	states []resolver.State
	errs   []error
	parsed int // service configs
}

func (c *fakeCC) UpdateState(s resolver.State) error {
	c.mu.Lock()
	c.states = append(c.states, s)
	c.mu.Unlock()
	if c.onUpdate != nil {
		return c.onUpdate(s)
	}
	return nil
}

func (c *fakeCC) ReportError(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}

// parsedConfig is what fakeCC makes of a service config.
type parsedConfig struct {
	serviceconfig.Config
	text string
}

// ParseServiceConfig takes whatever is JSON.
func (c *fakeCC) ParseServiceConfig(text string) *serviceconfig.ParseResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parsed++
	if !json.Valid([]byte(text)) {
		return &serviceconfig.ParseResult{Err: errors.New("fake: not JSON")}
	}
	return &serviceconfig.ParseResult{Config: parsedConfig{text: text}}
}

// config gives the text of the service config in the last update, "none" without one.
func (c *fakeCC) config() string {
	parsed := c.state().ServiceConfig
	if parsed == nil {
		return "none"
	}
	if config, ok := parsed.Config.(parsedConfig); ok {
		return config.text
	}
	return "not parsed here"
}

func (c *fakeCC) updates() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.states)
}

func (c *fakeCC) lastError() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errs) == 0 {
		return ""
	}
	return c.errs[len(c.errs)-1].Error()
}

func (c *fakeCC) state() resolver.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.states) == 0 {
		return resolver.State{}
	}
	return c.states[len(c.states)-1]
}

// addrs gives the addresses of the last update, joined by a space.
func (c *fakeCC) addrs() string {
	var addrs []string
	for _, e := range c.state().Endpoints {
		addrs = append(addrs, e.Addresses[0].Addr)
	}
	return strings.Join(addrs, " ")
}

// attrs gives what the last update says of addr.
func (c *fakeCC) attrs(addr string) attrs.Attrs {
	for _, e := range c.state().Endpoints {
		if e.Addresses[0].Addr == addr {
			return attrs.FromEndpoint(e)
		}
	}
	return attrs.Attrs{}
}

// dial builds a resolver for a fake channel, closed with the test.
func dial(tb testing.TB, b resolver.Builder, service string) *fakeCC {
	tb.Helper()
	c := &fakeCC{}
	c.dial(tb, b, service)
	return c
}

func (c *fakeCC) dial(tb testing.TB, b resolver.Builder, service string) {
	tb.Helper()
	r, err := b.Build(target(tb, "etcd:///"+service), c, c.options)
	require.NoError(tb, err)
	c.resolver = r
	tb.Cleanup(r.Close)
}

func target(tb testing.TB, text string) resolver.Target {
	tb.Helper()
	u, err := url.Parse(text)
	require.NoError(tb, err)
	return resolver.Target{URL: *u}
}

// logLines collects what is logged.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// with gives the lines that contain text.
func (l *logLines) with(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.lines), func(line string) bool { return !strings.Contains(line, text) })
}

// settle is longer than any debounce.
const settle = 3 * debounceLimit * defaultDebounce

// pass lets d pass on the bubble's clock, and what is due then happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
