package etcdresolver

import "time"

const (
	// debounceLimit is for how many windows a change waits at most.
	debounceLimit = 10
	// debounceBurst is how many updates may follow each other closely after a quiet
	// time. Then there is one in debounceRest windows. With windows of 20 ms that is at
	// most ten in any second.
	debounceBurst = 3
	debounceRest  = 7
)

// debounce lets changes gather: it fires a window after the last one, unless there
// were many updates lately, and at the latest ten windows after the first. Its
// user guards it with a lock.
type debounce struct {
	due    *time.Timer
	window time.Duration
	first  time.Time // of the changes gathered; zero when there are none
	// spent is up to when the updates so far would have lasted at one in debounceRest
	// windows: a leaky bucket (ITU-T I.371, GCRA).
	spent time.Time
}

func newDebounce(window time.Duration, fire func()) *debounce {
	return &debounce{due: stoppedTimer(fire), window: window}
}

// stoppedTimer calls f after it is reset.
func stoppedTimer(f func()) *time.Timer {
	timer := time.AfterFunc(time.Hour, f)
	timer.Stop()
	return timer
}

// add counts a change in.
func (d *debounce) add() {
	now := time.Now()
	if d.first.IsZero() {
		d.first = now
	}
	allowed := d.spent.Add(-(debounceBurst - 1) * debounceRest * d.window)
	wait := max(d.window, allowed.Sub(now))
	d.due.Reset(min(wait, d.first.Add(debounceLimit*d.window).Sub(now)))
}

// clear is called when what gathered is taken.
func (d *debounce) clear() {
	d.due.Stop()
	d.first = time.Time{}
	if now := time.Now(); d.spent.Before(now) {
		d.spent = now
	}
	d.spent = d.spent.Add(debounceRest * d.window)
}
