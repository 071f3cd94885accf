package etcdregistry

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

const (
	// healthPause is the ceiling of the pause before a health service that failed is
	// asked again.
	healthPause = time.Second
	// firstWord bounds how long Register waits for the health service.
	firstWord = time.Second
)

// pulse follows a health service in this process. Its methods do nothing on nil.
type pulse struct {
	cancel context.CancelFunc
	first  chan struct{} // closed when the service has answered once, or failed
	done   chan struct{}
}

// startPulse calls beat with each status until it is stopped.
func startPulse(server healthpb.HealthServer, service string, logger *slog.Logger, beat func(serving bool)) *pulse {
	ctx, cancel := context.WithCancel(context.Background())
	p := &pulse{cancel: cancel, first: make(chan struct{}), done: make(chan struct{})}
	heard := sync.OnceFunc(func() { close(p.first) })
	stream := &healthStream{ctx: ctx, send: func(status healthpb.HealthCheckResponse_ServingStatus) {
		beat(status == healthpb.HealthCheckResponse_SERVING)
		heard()
	}}
	go func() {
		defer close(p.done)
		defer cancel()
		for logged := (time.Time{}); ctx.Err() == nil; {
			err := server.Watch(&healthpb.HealthCheckRequest{Service: service}, stream)
			heard()
			if ctx.Err() == nil && time.Since(logged) >= logEvery {
				logged = time.Now()
				logger.Warn("etcd registration: the health service ended its watch, its last word stands",
					"service", service, "error", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(rand.N(healthPause)):
			}
		}
	}()
	return p
}

// awaitFirst waits for the first word of the service, but not for long.
func (p *pulse) awaitFirst(ctx context.Context) {
	if p == nil {
		return
	}
	select {
	case <-p.first:
	case <-ctx.Done():
	case <-time.After(firstWord):
	}
}

func (p *pulse) stop() {
	if p != nil {
		p.cancel()
	}
}

// wait returns when it has ended, or limit has: a service may ignore its context.
func (p *pulse) wait(limit context.Context) {
	if p == nil {
		return
	}
	select {
	case <-p.done:
	case <-limit.Done():
	}
}

// healthStream is the server's side of a Watch call that never leaves the process.
type healthStream struct {
	ctx  context.Context
	send func(healthpb.HealthCheckResponse_ServingStatus)
}

func (s *healthStream) Send(response *healthpb.HealthCheckResponse) error {
	if s.ctx.Err() == nil {
		s.send(response.GetStatus())
	}
	return s.ctx.Err()
}

func (s *healthStream) SendMsg(m any) error {
	response, ok := m.(*healthpb.HealthCheckResponse)
	if !ok {
		return errors.New("etcdregistry: want a health check response")
	}
	return s.Send(response)
}

func (s *healthStream) Context() context.Context     { return s.ctx }
func (s *healthStream) RecvMsg(any) error            { return errors.New("etcdregistry: nothing to receive") }
func (s *healthStream) SetHeader(metadata.MD) error  { return nil }
func (s *healthStream) SendHeader(metadata.MD) error { return nil }
func (s *healthStream) SetTrailer(metadata.MD)       {}
