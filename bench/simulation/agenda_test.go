package simulation

import "time"

// what happens at a moment that stands in the agenda.
type what uint8

const (
	finish what = iota // a worker is through with a call
	fail               // a call is answered with an error, by no worker
	retry              // a call looks for a backend again
	alter              // the next change of the timeline is due
)

// entry is one thing to come.
type entry struct {
	at    time.Duration
	order uint64 // of two at the same moment, the one that was entered first
	what  what
	call  *call // nil for alter
}

func (e entry) before(o entry) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

// agenda is what is to come, soonest first: a heap in which each entry has four
// below it. The zero agenda is empty.
type agenda struct {
	entries []entry
	entered uint64
}

// enter puts something in the agenda.
func (a *agenda) enter(at time.Duration, what what, c *call) {
	e := entry{at: at, order: a.entered, what: what, call: c}
	a.entered++
	a.entries = append(a.entries, e)
	i := len(a.entries) - 1
	for i > 0 && e.before(a.entries[(i-1)/4]) {
		a.entries[i] = a.entries[(i-1)/4]
		i = (i - 1) / 4
	}
	a.entries[i] = e
}

// next returns when the next entry is due, never if there is none.
func (a *agenda) next() time.Duration {
	if len(a.entries) == 0 {
		return never
	}
	return a.entries[0].at
}

// take removes the next entry. There must be one.
func (a *agenda) take() entry {
	first, last := a.entries[0], len(a.entries)-1
	e := a.entries[last]
	a.entries[last] = entry{}
	a.entries = a.entries[:last]
	if last == 0 {
		return first
	}
	i := 0
	for {
		soonest, below := -1, 4*i+1
		for j := below; j < min(below+4, last); j++ {
			if soonest < 0 || a.entries[j].before(a.entries[soonest]) {
				soonest = j
			}
		}
		if soonest < 0 || !a.entries[soonest].before(e) {
			break
		}
		a.entries[i] = a.entries[soonest]
		i = soonest
	}
	a.entries[i] = e
	return first
}
