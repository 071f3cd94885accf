package etcdresolver

import "time"

// debounceLimit is for how many windows a change waits at most.
const debounceLimit = 10

// debounceRest is how many windows pass between two updates at least, where
// changes come with pauses longer than a window.
const debounceRest = 5

// debounce lets changes gather: it fires a window after the last one, but not
// sooner than five windows after it was last taken from, and at the latest ten
// windows after the first change. Its user guards it with a lock.
type debounce struct {
	due    *time.Timer
	window time.Duration
	first  time.Time // of the changes gathered; zero when there are none
	last   time.Time // when what gathered was taken
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
	wait := max(d.window, d.last.Add(debounceRest*d.window).Sub(now))
	d.due.Reset(min(wait, d.first.Add(debounceLimit*d.window).Sub(now)))
}

// clear is called when what gathered is taken.
func (d *debounce) clear() {
	d.due.Stop()
	d.first, d.last = time.Time{}, time.Now()
}
