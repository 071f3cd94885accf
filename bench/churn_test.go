package bench

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
)

// churn changes a channel of many backends, a little at a time. It is used by
// one goroutine, while others pick.
type churn struct {
	host    *host
	list    []resolver.Endpoint // handed over last
	random  *rand.Rand
	clock   atomic.Int64 // counts departures
	up      []*subConn
	down    []*subConn // they wait to connect
	ejected []*subConn
}

// newChurn returns the churn of a host that has all of list connected.
func newChurn(h *host, list []resolver.Endpoint) *churn {
	ch := &churn{host: h, list: list, random: rand.New(rand.NewPCG(1, 2))}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.made {
		if !s.closed.Load() {
			ch.up = append(ch.up, s)
		}
	}
	return ch
}

// flap is one connection that is lost, or one that is back. One in fifty is
// lost at a time.
func (ch *churn) flap() {
	if len(ch.down) <= len(ch.list)/50 {
		ch.drop()
	} else {
		ch.restore()
	}
}

// drop takes a connection from READY to IDLE.
func (ch *churn) drop() {
	s := take(&ch.up, ch.random.IntN(len(ch.up)))
	s.listener(balancer.SubConnState{ConnectivityState: connectivity.Idle})
	ch.left(s)
	ch.down = append(ch.down, s)
}

// left takes note that calls which begin now must not get s.
func (ch *churn) left(s *subConn) { s.left.Store(ch.clock.Add(1)) }

// restore takes the connection that was lost first to READY.
func (ch *churn) restore() {
	ch.host.take() // it is known
	s := take(&ch.down, 0)
	s.left.Store(0)
	s.ready()
	ch.up = append(ch.up, s)
}

// take removes s[i] and returns it.
func take[T any](s *[]T, i int) T {
	taken := (*s)[i]
	*s = slices.Delete(*s, i, i+1)
	return taken
}

// reweigh is a list in which n weights are new.
func (ch *churn) reweigh(n int) {
	ch.list = slices.Clone(ch.list)
	for range n {
		i := ch.random.IntN(len(ch.list))
		ch.list[i] = endpoint(ch.list[i].Addresses[0].Addr, 1+ch.random.Uint32N(8))
	}
	ch.host.update(ch.list)
}

// BenchmarkChurn is a channel whose backends change 1,000 times a second while
// GOMAXPROCS goroutines pick as fast as they can: connections that are lost and
// come back, one by one, or weights, in lists that have twenty new ones each. An
// operation is one connection's change or one list, and waits for its time, so
// ns/op says how late it came. The picks are timed one by one, with their Done.
// Then the same happens again with nobody picking, for the processor time.
// Where other programs run, the line of the frame, whose pick does nothing,
// tells how long they can hold up a pick.
func BenchmarkChurn(b *testing.B) {
	kinds := []struct {
		label   string
		every   time.Duration
		changes int
		change  func(*churn)
	}{
		{"connections", time.Millisecond, 1, (*churn).flap},
		{"weights", 20 * time.Millisecond, 20, func(ch *churn) { ch.reweigh(20) }},
	}
	sizes := tried(large)
	n := sizes[len(sizes)-1]
	for _, p := range append(only(func(p policy) bool { return distinct(p) && !p.stock }), frame) {
		var ch *churn
		open := sync.OnceFunc(func() {
			list := endpoints(n, 1, 2, 4)
			ch = newChurn(opened(b, p, list, p.numbered(1)), list)
		})
		for _, k := range kinds {
			b.Run(fmt.Sprintf("policy=%s/change=%s/backends=%d", p.label, k.label, n), func(b *testing.B) {
				open()
				ch.host.settle()
				b.ResetTimer()
				changes := pacer{every: k.every, change: func() { k.change(ch) }}
				ch.measurePicks(b, &changes)
				b.ReportMetric(float64(k.changes)*float64(b.N)/b.Elapsed().Seconds(), "changes/s")
				b.StopTimer()
				ch.host.settle()
				changes.due = time.Time{}
				cpu := cpuTime()
				for range b.N {
					changes.next()
				}
				reportCPU(b, cpu, "cpu-ns/change", k.changes)
			})
		}
		if ch != nil {
			ch.host.close()
		}
	}
}

// measurePicks makes the changes while others pick.
func (ch *churn) measurePicks(b *testing.B, changes *pacer) {
	before := ch.host.pickers.Load()
	pickers := ch.startPickers()
	for b.Loop() {
		changes.next()
	}
	took, waited := pickers.stop()
	b.ReportMetric(float64(ch.host.pickers.Load()-before)/b.Elapsed().Seconds(), "pickers/s")
	b.ReportMetric(float64(took.quantile(0.999)), "p99.9-pick-ns")
	b.ReportMetric(float64(took.longest), "longest-pick-ns")
	b.ReportMetric(float64(waited), "no-pick")
}

// pacer makes changes, one every so often. Those that are late it makes up for.
type pacer struct {
	every  time.Duration
	change func()
	due    time.Time
}

func (p *pacer) next() {
	if p.due.IsZero() {
		p.due = time.Now()
	}
	if wait := time.Until(p.due); wait > 0 {
		<-time.After(wait)
	}
	p.change()
	p.due = p.due.Add(p.every)
}

// pickers are goroutines that pick and time it.
type pickers struct {
	stopping atomic.Bool
	wg       sync.WaitGroup

	mu     sync.Mutex
	took   durations
	waited uint64 // picks that found nobody, whose calls would wait
}

func (ch *churn) startPickers() *pickers {
	ps := new(pickers)
	for range runtime.GOMAXPROCS(0) {
		ps.wg.Go(func() { ps.run(ch.host) })
	}
	return ps
}

// run picks, and every so often lets other goroutines have the processor, lest
// they take it in the midst of a pick.
func (ps *pickers) run(h *host) {
	const turn = 32
	var took durations
	var waited uint64
	c, n := h.of.newCall(), rand.Uint64()
	for !ps.stopping.Load() {
		runtime.Gosched()
		start := time.Now()
		for range turn {
			if c.spin(h.picker(), n) != nil {
				waited++
			}
			n++
			end := time.Now()
			took.add(end.Sub(start))
			start = end
		}
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.took.merge(&took)
	ps.waited += waited
}

func (ps *pickers) stop() (*durations, uint64) {
	ps.stopping.Store(true)
	ps.wg.Wait()
	return &ps.took, ps.waited
}
