package etcdregistry

import (
	"errors"
	"sync"
)

var errClosed = errors.New("the registration is closed")

// desire is what should stand under a key.
type desire struct {
	inst    Instance
	owner   owner
	sick    bool // its health service does not serve
	leaving bool // it is being closed
	gone    bool // nothing should stand there
}

// text returns the value.
func (d desire) text() string {
	d.inst.Draining = d.inst.Draining || d.sick || d.leaving
	text, err := encode(d.inst, d.owner)
	if err != nil {
		return "" // cannot be: see check
	}
	return text
}

// check reports what is wrong with the instance. "false" is a byte longer than
// "true": an instance that passes can be marked and unmarked.
func (d desire) check() error {
	d.inst.Draining = false
	_, err := encode(d.inst, d.owner)
	return err
}

// wish is a desire that changes. Update, Close and the health service change it, the
// keeper fulfils it; a wish that cannot be fulfilled now is not lost.
type wish struct {
	wake func() // tells the keeper, does not block

	mu sync.Mutex
	desire
	version int     // counts the changes
	taken   *answer // for those who wait for what the loop has seen
	answer  *answer // for those who came later
	// trouble is why the last look failed, "none" before one did.
	trouble string
}

// answer tells those who wait for a value how it went.
type answer struct {
	done chan struct{}
	err  error // to be read after done is closed
}

// newWish fails if d cannot be encoded. The version is 1.
func newWish(d desire, wake func()) (*wish, *answer, error) {
	if err := d.check(); err != nil {
		return nil, nil, err
	}
	w := &wish{wake: wake, trouble: "none"}
	standing := w.change(func(current *desire) { *current = d })
	return w, standing, nil
}

// update wishes for other attributes.
func (w *wish) update(next Instance) (*answer, error) {
	if err := (desire{inst: next, owner: w.desireNow().owner}).check(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leaving {
		return nil, errClosed
	}
	return w.changeLocked(func(d *desire) { d.inst = next }), nil
}

// change wishes for something else. Those who still wait for an earlier wish share
// its answer: once a later value stands there is nothing left to wait for.
func (w *wish) change(apply func(*desire)) *answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changeLocked(apply)
}

func (w *wish) changeLocked(apply func(*desire)) *answer {
	apply(&w.desire)
	w.version++
	if w.answer == nil {
		w.answer = &answer{done: make(chan struct{})}
	}
	w.wake()
	return w.answer
}

// setSick wishes for the mark of a server that does not serve. It tells whether that
// is new.
func (w *wish) setSick(sick bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sick == sick || w.leaving {
		return false
	}
	w.changeLocked(func(d *desire) { d.sick = sick })
	return true
}

// leave wishes for the drain mark and turns away everybody who waits or will wait.
func (w *wish) leave() *answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settleLocked(errClosed)
	return w.changeLocked(func(d *desire) { d.leaving = true })
}

// get returns the wish. The version tells it from earlier ones with the same value.
func (w *wish) get() (d desire, version int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.desire, w.version
}

func (w *wish) desireNow() desire {
	d, _ := w.get()
	return d
}

// look is get for the loop. Those who wait for this version need not wait for later
// ones, or under steady changes nobody would ever be answered.
func (w *wish) look() (d desire, version int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.taken == nil {
		w.taken, w.answer = w.answer, nil
	}
	return w.desire, w.version
}

// adopt notes under which owner the value was written.
func (w *wish) adopt(by owner) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owner = by
}

// settle answers those who wait for that version, the last that the loop has seen.
func (w *wish) settle(version int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	give(&w.taken, err)
	if w.version == version {
		give(&w.answer, err)
	}
}

// close turns away everybody who waits or will wait.
func (w *wish) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaving = true
	w.settleLocked(errClosed)
}

func (w *wish) settleLocked(err error) {
	give(&w.taken, err)
	give(&w.answer, err)
}

// give answers those who wait, if anybody does.
func give(waiting **answer, err error) {
	if a := *waiting; a != nil {
		a.err = err
		close(a.done)
		*waiting = nil
	}
}

// failed notes why a look failed, for those who stop waiting.
func (w *wish) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = err.Error()
}

func (w *wish) lastTrouble() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trouble
}
