package etcdregistry

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/steelyard-go/steelyard/attrs"
)

const (
	serving    = healthpb.HealthCheckResponse_SERVING
	notServing = healthpb.HealthCheckResponse_NOT_SERVING
)

func TestHealth_DrainsWhileTheServerDoesNotServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		server := health.NewServer()
		server.SetServingStatus("pay", serving)
		begin := time.Now()
		r := mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 5}}, WithHealth(server, "pay"))
		require.Zero(t, time.Since(begin), "it waits for more than the first word")
		drains := func() bool {
			synctest.Wait()
			return mustDecode(t, s.key(testKey).value).Draining
		}
		require.False(t, drains())
		require.Equal(t, 1, s.count("swap"), "it blinked")

		server.SetServingStatus("pay", notServing)
		require.True(t, drains())
		server.SetServingStatus("other", serving)
		require.True(t, drains())
		server.SetServingStatus("pay", serving)
		require.False(t, drains())
		server.Shutdown()
		require.True(t, drains())
		require.EqualValues(t, 5, mustDecode(t, s.key(testKey).value).Weight)
		mustClose(t, r)
	})
}

func TestHealth_EitherDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		server := health.NewServer()
		r := mustRegister(t, &s, Instance{}, WithHealth(server, ""))
		for _, c := range []struct{ user, sick, want bool }{
			{false, false, false}, {true, false, true}, {true, true, true}, {false, true, true}, {false, false, false},
		} {
			status := serving
			if c.sick {
				status = notServing
			}
			server.SetServingStatus("", status)
			require.NoError(t, r.Update(t.Context(), attrs.Attrs{Draining: c.user}))
			synctest.Wait()
			require.Equal(t, c.want, mustDecode(t, s.key(testKey).value).Draining, "%+v", c)
		}
		mustClose(t, r)
	})
}

func TestHealth_UnknownServiceDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{}, WithHealth(health.NewServer(), "pay"))
		require.True(t, mustDecode(t, s.key(testKey).value).Draining)
		mustClose(t, r)
	})
}

// watchFunc is a health service that only watches.
type watchFunc func(stream healthpb.Health_WatchServer) error

func (f watchFunc) Watch(_ *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	return f(stream)
}

func (watchFunc) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return nil, errors.New("not asked")
}

func (watchFunc) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	return nil, errors.New("not asked")
}

func TestHealth_LastWordStandsWhileTheServiceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		var calls atomic.Int32
		server := watchFunc(func(stream healthpb.Health_WatchServer) error {
			if calls.Add(1) <= 5 {
				_ = stream.SendHeader(nil)
				for range 3 {
					_ = stream.Send(&healthpb.HealthCheckResponse{Status: serving})
				}
			}
			return errors.New("broken")
		})
		r := mustRegister(t, &s, Instance{}, WithHealth(server, ""))
		pass(time.Minute)
		require.False(t, mustDecode(t, s.key(testKey).value).Draining)
		require.Equal(t, 1, s.count("swap"))
		require.InDelta(t, 120, calls.Load(), 60, "it gave up, or storms")
		mustClose(t, r)
		asked := calls.Load()
		pass(time.Minute)
		require.Equal(t, asked, calls.Load(), "it goes on after Close")
	})
}

// A service that says nothing holds neither Register nor Close for long.
func TestHealth_SilentServiceDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		end := make(chan struct{})
		server := watchFunc(func(healthpb.Health_WatchServer) error {
			<-end // and ignores its context
			return nil
		})
		begin := time.Now()
		r := mustRegister(t, &s, Instance{}, WithHealth(server, ""), WithDrainDelay(0))
		require.Equal(t, firstWord, time.Since(begin))
		require.True(t, mustDecode(t, s.key(testKey).value).Draining)
		begin = time.Now()
		mustClose(t, r)
		require.LessOrEqual(t, time.Since(begin), closeLimit)
		close(end)
	})
}

func TestHealth_OfOneRegistrationEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		var watching atomic.Int32
		server := watchFunc(func(stream healthpb.Health_WatchServer) error {
			watching.Add(1)
			defer watching.Add(-1)
			_ = stream.SendMsg(&healthpb.HealthCheckResponse{Status: serving})
			<-stream.Context().Done()
			return stream.Context().Err()
		})
		g := mustRegistrar(t, &s, WithHealth(server, ""))
		first := mustJoin(t, g, testAddr)
		mustJoin(t, g, "10.0.0.7:2")
		require.EqualValues(t, 2, watching.Load())
		mustClose(t, first)
		require.EqualValues(t, 1, watching.Load())
		_, err := g.Register(t.Context(), testService, Instance{Addr: "10.0.0.7:2"})
		require.Error(t, err)
		require.NoError(t, g.Close(t.Context()))
		require.Zero(t, watching.Load())
	})
}

func TestHealth_ChangesAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		var log logBuffer
		server := health.NewServer() // it serves
		mustRegister(t, &s, Instance{}, WithHealth(server, ""), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		for _, status := range []healthpb.HealthCheckResponse_ServingStatus{serving, notServing, healthpb.HealthCheckResponse_UNKNOWN} {
			server.SetServingStatus("", status)
			synctest.Wait()
		}
		var said []string
		for _, line := range log.lines() {
			if _, text, ok := strings.Cut(line, `level=INFO msg="etcd registration: health" `); ok {
				said = append(said, text)
			}
		}
		require.Equal(t, []string{"key=" + testKey + " serving=true\n", "key=" + testKey + " serving=false\n"}, said)
	})
}

func TestHealth_BrokenServiceIsNotWaitedForAndNoStormOfLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		var log logBuffer
		server := watchFunc(func(healthpb.Health_WatchServer) error { return errors.New("broken") })
		begin := time.Now()
		r := mustRegister(t, &s, Instance{}, WithHealth(server, ""), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		require.Zero(t, time.Since(begin))
		require.True(t, mustDecode(t, s.key(testKey).value).Draining)
		pass(10 * time.Minute)
		mustClose(t, r)
		said := 0
		for _, line := range log.lines() {
			if strings.Contains(line, "the health service ended its watch") {
				said++
			}
		}
		require.InDelta(t, 20, said, 2, "every 30s")
	})
}

func TestHealth_RegisterDoesNotOutlastItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		server := watchFunc(func(stream healthpb.Health_WatchServer) error {
			<-stream.Context().Done()
			return stream.Context().Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), firstWord/10)
		defer cancel()
		begin := time.Now()
		_, err := register(ctx, &s, testService, Instance{Addr: testAddr}, append(quiet(), WithHealth(server, "")))
		require.Less(t, time.Since(begin), firstWord)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// Nobody watches any more when Close has returned.
func TestHealth_CloseWaitsForTheEndOfTheWatch(t *testing.T) {
	for name, closes := range map[string]func(*Registrar, *Registration) error{
		"one": func(_ *Registrar, r *Registration) error { return r.Close(context.Background()) },
		"all": func(g *Registrar, _ *Registration) error { return g.Close(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s fakeStore
				var ended atomic.Bool
				server := watchFunc(func(stream healthpb.Health_WatchServer) error {
					_ = stream.Send(&healthpb.HealthCheckResponse{Status: serving})
					<-stream.Context().Done()
					<-time.After(defaultDrainDelay + time.Second)
					ended.Store(true)
					return stream.Context().Err()
				})
				g := mustRegistrar(t, &s)
				r := mustJoin(t, g, testAddr, WithHealth(server, ""))
				require.NoError(t, closes(g, r))
				require.True(t, ended.Load())
			})
		})
	}
}

func TestPulse_HearsNothingAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := watchFunc(func(stream healthpb.Health_WatchServer) error {
			_ = stream.Send(&healthpb.HealthCheckResponse{Status: serving})
			<-stream.Context().Done()
			return stream.Send(&healthpb.HealthCheckResponse{Status: notServing})
		})
		var log logBuffer
		var beats atomic.Int32
		p := startPulse(server, "", slog.New(slog.NewTextHandler(&log, nil)), func(bool) { beats.Add(1) })
		synctest.Wait()
		p.stop()
		p.wait(t.Context())
		require.EqualValues(t, 1, beats.Load())
		require.Empty(t, log.lines(), "its end is no trouble")
	})
}
