package bench

import (
	"errors"
	"runtime"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
)

// patience bounds how long a policy may take to build a picker.
const patience = 30 * time.Second

// Policies may build in the background, and say nothing of when they have done.
// They have when they have no goroutine left and for this while no picker came
// out and the process has hardly worked.
const (
	quiet      = 80 * time.Millisecond
	listening  = 10 * time.Millisecond
	hardlyWork = listening / 5
)

// settle returns when the policy has nothing more to do. Those of gRPC never
// have: their pickers are out when they return.
func (h *host) settle() {
	if h.of.stock {
		return
	}
	tick := time.NewTicker(listening)
	defer tick.Stop()
	start := time.Now()
	since, pickers, worked := start, h.pickers.Load(), cpuTime()
	for now := start; now.Sub(since) < quiet; now = <-tick.C {
		p, w := h.pickers.Load(), cpuTime()
		if p != pickers || w-worked > hardlyWork || runtime.NumGoroutine() > h.goroutines {
			since, pickers = now, p
		}
		worked = cpuTime()
		if now.Sub(start) > patience {
			h.tb.Fatalf("%s: still at work after %v", h.of.label, patience)
		}
	}
}

// await waits until done, which is asked over and over.
func (h *host) await(what string, done func() bool) {
	for start := time.Now(); !done(); runtime.Gosched() {
		if time.Since(start) > patience {
			h.tb.Fatalf("%s: %s: not after %v", h.of.label, what, patience)
		}
	}
}

// updateAndAwait hands a list over and waits for a picker that came after it.
func (h *host) updateAndAwait(list []resolver.Endpoint) {
	before := h.pickers.Load()
	h.update(list)
	h.await("a picker after an update", func() bool { return h.pickers.Load() != before })
}

// connection returns the latest connection to a backend.
func (h *host) connection(e resolver.Endpoint) *subConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.made) - 1; i >= 0; i-- {
		if h.made[i].addr == e.Addresses[0].Addr {
			return h.made[i]
		}
	}
	h.tb.Fatalf("%s: no connection to %v was made", h.of.label, e)
	return nil
}

var errRefused = errors.New("connection refused")

// fail takes a connection from READY to TRANSIENT_FAILURE. A lazy policy tries
// to connect again when a call wants the backend, as wanted does.
func (h *host) fail(s *subConn, wanted *call) {
	s.listener(balancer.SubConnState{ConnectivityState: connectivity.Idle})
	if h.of.lazy {
		_, _ = h.picker().Pick(wanted.info)
		h.awaitDemand()
	}
	h.take()
	s.listener(balancer.SubConnState{ConnectivityState: connectivity.Connecting})
	s.listener(balancer.SubConnState{ConnectivityState: connectivity.TransientFailure, ConnectionError: errRefused})
}

// recover takes a connection from TRANSIENT_FAILURE to READY, after its backoff.
func (h *host) recover(s *subConn) {
	s.listener(balancer.SubConnState{ConnectivityState: connectivity.Idle})
	h.connect()
}
