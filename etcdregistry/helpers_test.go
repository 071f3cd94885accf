package etcdregistry

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// down fails every call at once, as a refused connection does.
func down(err error) func(context.Context, string) error {
	return func(context.Context, string) error { return err }
}

// failing fails the named calls.
func failing(err error, calls ...string) func(context.Context, string) error {
	return func(_ context.Context, call string) error {
		for _, c := range calls {
			if c == call {
				return err
			}
		}
		return nil
	}
}

// hanging lets every call wait for the end of its context.
func hanging(ctx context.Context, call string) error {
	if call == "reconnect" {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// logBuffer is a log that goroutines can write to while a test reads it.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for line := range bytes.Lines(b.text.Bytes()) {
		lines = append(lines, string(line))
	}
	return lines
}

// pass lets the time of the bubble pass, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock
	synctest.Wait()
}

func quiet() []Option {
	return []Option{WithTTL(testTTL), WithLogger(slog.New(slog.DiscardHandler))}
}

// register is Register without a client.
func register(ctx context.Context, s *fakeStore, service string, inst Instance, opts []Option) (*Registration, error) {
	g, err := newRegistrar(s, opts)
	if err != nil {
		return nil, err
	}
	return g.registerOnly(ctx, service, inst)
}

// mustRegister registers testAddr until the end of the test.
func mustRegister(t *testing.T, s *fakeStore, inst Instance, opts ...Option) *Registration {
	t.Helper()
	inst.Addr = testAddr
	r, err := register(t.Context(), s, testService, inst, append(quiet(), opts...))
	require.NoError(t, err)
	t.Cleanup(func() {
		s.setFault(nil)
		_ = r.Close(context.Background()) // those who test Close look at its error
	})
	return r
}

func mustClose(t *testing.T, r *Registration) {
	t.Helper()
	require.NoError(t, r.Close(t.Context()))
}

func mustDecode(t *testing.T, text string) Instance {
	t.Helper()
	inst, err := Decode(testKey, []byte(text))
	require.NoError(t, err)
	return inst
}
