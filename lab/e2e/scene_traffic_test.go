package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	callEvery   = 2 * time.Millisecond
	callTimeout = 5 * time.Second
	// rounds is how many turns of a rotation show who is in it: one may be cut short
	// by a new list.
	rounds = 3
)

// steadyTraffic calls through a channel, one call after the other.
type steadyTraffic struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when no call is under way

	mu    sync.Mutex
	calls []answeredCall
	from  time.Time // calls that began earlier do not count
}

// answeredCall is a call that is over.
type answeredCall struct {
	begun time.Time
	addr  string // of the server that answered
	err   error
}

func (c answeredCall) String() string {
	if c.err != nil {
		return c.err.Error()
	}
	return c.addr
}

func startSteadyTraffic(channel *heardChannel) *steadyTraffic {
	ctx, cancel := context.WithCancel(context.Background())
	t := &steadyTraffic{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		for every := time.NewTicker(callEvery); ctx.Err() == nil; <-every.C {
			call := answeredCall{begun: time.Now()}
			call.addr, call.err = channel.call(callTimeout)
			t.mu.Lock()
			t.calls = append(t.calls, call)
			t.mu.Unlock()
		}
	}()
	return t
}

// stop waits for the call under way. It reports whether that kept its deadline.
func (t *steadyTraffic) stop() bool {
	t.cancel()
	select {
	case <-t.done:
		return true
	case <-time.After(callTimeout + slack):
		return false
	}
}

// since returns the calls that began at a time or later.
func (t *steadyTraffic) since(begin time.Time) []answeredCall {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, _ := slices.BinarySearchFunc(t.calls, begin, func(c answeredCall, at time.Time) int { return c.begun.Compare(at) })
	return slices.Clone(t.calls[i:])
}

// last returns the last n calls.
func (t *steadyTraffic) last(n int) []answeredCall {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.calls[max(0, len(t.calls)-n):])
}

// awaitReach waits until calls begun after a time reach exactly these servers, and
// returns since when they do.
func (t *steadyTraffic) awaitReach(begin time.Time, wait time.Duration, servers []*policyServer) (at time.Time, ok bool) {
	want := addrsOf(servers)
	for every := time.NewTicker(tick); ; <-every.C {
		calls := t.since(begin)
		calls = calls[max(0, len(calls)-rounds*len(want)):]
		now := time.Now()
		if len(calls) == rounds*len(want) && slices.Equal(answering(calls), want) {
			return calls[0].begun, calls[0].begun.Sub(begin) <= wait
		}
		if now.Sub(begin) > wait+time.Second { // calls that began in time may take a while
			return now, false
		}
	}
}

// keeps returns after a while, and says what was wrong if not all calls begun
// meanwhile reached exactly these servers.
func (t *steadyTraffic) keeps(during time.Duration, servers []*policyServer) string {
	want, begin := addrsOf(servers), time.Now()
	step := rounds * len(want)
	<-time.After(during)
	calls := t.since(begin)
	for ; len(calls) < step && time.Since(begin) < during+callTimeout; calls = t.since(begin) {
		<-time.After(callEvery)
	}
	if len(calls) < step {
		return fmt.Sprintf("only %d calls in %v", len(calls), time.Since(begin))
	}
	for first := 0; first+step <= len(calls); first += step {
		if part := calls[first : first+step]; !slices.Equal(answering(part), want) {
			return fmt.Sprintf("%v after %v: want %v", part, part[0].begun.Sub(begin), want)
		}
	}
	return ""
}

// answering returns the addresses that answered, sorted; an error is one of them.
func answering(calls []answeredCall) []string {
	addrs := make([]string, len(calls))
	for i, call := range calls {
		addrs[i] = call.String()
	}
	slices.Sort(addrs)
	return slices.Compact(addrs)
}

// counts has no call count that began before a time.
func (t *steadyTraffic) counts(from time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.from = from
}

// count returns how many calls there were, and those that failed.
func (t *steadyTraffic) count() (calls int, failed []error) {
	for _, call := range t.since(t.from) {
		calls++
		if call.err != nil {
			failed = append(failed, call.err)
		}
	}
	return calls, failed
}
