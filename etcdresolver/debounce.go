package etcdresolver

import "time"

// debounceLimit is for how many windows a change waits at most.
const debounceLimit = 10

// debounce lets changes gather: due fires a window after the last one, and at
// the latest ten windows after the first.
type debounce struct {
	due    *time.Timer
	window time.Duration
	first  time.Time // of the changes gathered; zero when there are none
}

func newDebounce(window time.Duration) *debounce {
	d := &debounce{due: time.NewTimer(time.Hour), window: window}
	d.due.Stop()
	return d
}

// add counts a change in.
func (d *debounce) add() {
	now := time.Now()
	if d.first.IsZero() {
		d.first = now
	}
	d.due.Reset(min(d.window, d.first.Add(debounceLimit*d.window).Sub(now)))
}

// clear is called when due fired.
func (d *debounce) clear() { d.first = time.Time{} }
