package simulation

import (
	"math"
	"time"

	"google.golang.org/grpc/resolver"
)

const (
	meanService = 10 * time.Millisecond
	deadline    = time.Second
	// step is what time goes on by. What happens at about the same time happens
	// at the same time: that makes one sleep of several.
	step  = 100 * time.Microsecond
	never = time.Duration(math.MaxInt64)
	// settling is how long the clients have before the first call. All connections
	// come up in the same instant, but with long lists only the first of them
	// would take the calls until the policy's pause between two pickers is over.
	settling = 100 * time.Millisecond
)

// toStep rounds, which neither lengthens nor shortens calls in the mean.
func toStep(nanoseconds float64) time.Duration {
	return time.Duration(math.Round(nanoseconds/float64(step))) * step
}

// world is one run of a scenario. One goroutine drives it, from one thing that
// happens to the next, and sleeps in between: in a synctest bubble that takes no
// time, and the policies' clocks show the world's time. Policies may have
// goroutines and timers of their own.
type world struct {
	scenario *scenario
	policy   policy
	epoch    time.Time
	now      time.Duration // since epoch

	servers []*server
	clients []*client
	dialer  *dialer
	source  *source
	keyed   *keyed

	agenda  agenda
	open    openCalls
	free    *call // calls to use again
	changes int   // of the timeline that have come to pass
	meter   *meter
}

// newWorld returns a world without clients.
func newWorld(sc *scenario, p policy) *world {
	w := &world{
		scenario: sc, policy: p, keyed: newKeyed(p.context),
		servers: sc.servers(), meter: newMeter(sc.from, sc.to),
	}
	w.dialer = &dialer{servers: make(map[string]*server)}
	for _, s := range w.servers {
		w.dialer.servers[s.addr] = s
	}
	return w
}

// run plays sc with p in the bubble of the calling goroutine.
func run(sc *scenario, clients int, p policy, seed uint64) (outcome, error) {
	w := newWorld(sc, p)
	if err := w.begin(clients); err != nil {
		return outcome{}, err
	}
	defer w.close()
	w.epoch = time.Now().Add(settling)
	w.source = newSource(seed, sc.callsPerSecond(), w.clients, sc.service)
	for {
		at := w.next()
		if at == never {
			return w.meter.outcome(w.fairShare(), len(sc.zones) > 0), nil
		}
		w.sleep(at)
		if err := w.happen(); err != nil {
			return outcome{}, err
		}
	}
}

// begin brings about what the timeline has at 0, and makes the clients.
func (w *world) begin(clients int) error {
	for _, ch := range w.scenario.timeline {
		if ch.at > 0 {
			w.agenda.enter(ch.at, alter, nil)
			continue
		}
		w.changes++
		for _, s := range w.who(ch) {
			s.condition = ch.become
		}
	}
	list := w.list()
	for i := range clients {
		c, err := newClient(w.policy, w.scenario.zoneOfClient(i), w.dialer)
		if err != nil {
			w.close()
			return err
		}
		w.clients = append(w.clients, c)
		open := c.update
		if w.policy.stock && len(list) > 100 {
			open = c.open
		}
		if err := open(list); err != nil {
			w.close()
			return err
		}
	}
	return nil
}

func (w *world) close() {
	for _, c := range w.clients {
		c.policy.Close()
	}
}

// list is what the resolver finds.
func (w *world) list() []resolver.Endpoint {
	var list []resolver.Endpoint
	for _, s := range w.servers {
		if !s.Absent {
			list = append(list, s.endpoint())
		}
	}
	return list
}

// fairShare of the watched backends is their part of the weight in the list, 0
// if none are watched.
func (w *world) fairShare() float64 {
	var watched, total float64
	for _, s := range w.servers {
		if s.Absent {
			continue
		}
		total += float64(s.attrs.Weight)
		if s.watched {
			watched += float64(s.attrs.Weight)
		}
	}
	return watched / total
}

// next returns when something happens next.
func (w *world) next() time.Duration {
	at := w.source.at()
	if at >= w.scenario.to {
		if w.open.first == nil {
			return never
		}
		at = never
	}
	if w.open.first != nil {
		at = min(at, w.open.first.start+deadline)
	}
	return min(at, w.agenda.next())
}

func (w *world) sleep(until time.Duration) {
	if until > w.now {
		time.Sleep(until - time.Since(w.epoch)) //nolint:forbidigo // this is what moves virtual time
		w.now = until
	}
}

// happen lets all happen that is due now.
func (w *world) happen() error {
	if w.dialer.waiting.Load() > 0 {
		w.dialer.connect()
	}
	for w.agenda.next() <= w.now {
		if err := w.keep(w.agenda.take()); err != nil {
			return err
		}
	}
	for c := w.open.first; c != nil && c.start+deadline <= w.now; c = w.open.first {
		w.end(c, errDeadline, nil)
	}
	for w.source.at() <= w.now && w.source.at() < w.scenario.to {
		c := w.newCall()
		w.meter.total++
		w.source.draw(c)
		w.open.add(c)
		c.open = true
		w.begins(c)
	}
	return nil
}

// keep does what the agenda says.
func (w *world) keep(e entry) error {
	c := e.call
	switch e.what {
	case finish:
		w.finished(c)
	case fail:
		w.answer(c)
	case retry:
		if c.held = false; c.open {
			w.begins(c)
		} else {
			w.recycle(c)
		}
	case alter:
		return w.alter()
	}
	return nil
}
