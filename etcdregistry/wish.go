package etcdregistry

import (
	"errors"
	"sync"
)

var errClosed = errors.New("the registration is closed")

// wish is what should stand in etcd. Update changes it, the keeper fulfils it; a
// wish that cannot be fulfilled now is not lost.
type wish struct {
	changed chan struct{} // holds one token while the keeper has not seen the last change

	mu      sync.Mutex
	version int    // counts the wishes, from 1
	value   string // as encoded
	drain   string // the same with the drain mark
	answer  *answer
	closed  bool // no wish is fulfilled any more
	// trouble is why the last attempt failed, "none" before one did.
	trouble string
}

// answer tells those who wait for a value how it went.
type answer struct {
	done chan struct{}
	err  error // to be read after done is closed
}

func newWish() *wish {
	return &wish{changed: make(chan struct{}, 1), trouble: "none"}
}

// set wishes for inst. Those who still wait for an earlier wish share its answer:
// once a later value stands there is nothing left to wait for.
func (w *wish) set(inst Instance) (*answer, error) {
	value, err := encode(inst)
	if err != nil {
		return nil, err
	}
	inst.Draining = true
	drain, err := encode(inst)
	if err != nil {
		return nil, err
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, errClosed
	}
	w.version++
	w.value, w.drain = value, drain
	if w.answer == nil {
		w.answer = &answer{done: make(chan struct{})}
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
	return w.answer, nil
}

// get returns the wish. The version tells it from earlier ones with the same value.
func (w *wish) get() (value string, version int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.value, w.version
}

// draining returns the wish with the drain mark, as a version of its own.
func (w *wish) draining() (value string, version int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drain, w.version + 1
}

// settle answers those who wait for that version, unless there is a later one by
// now.
func (w *wish) settle(version int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.version == version {
		w.settleLocked(err)
	}
}

// failed notes why an attempt failed, for those who stop waiting.
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

// close turns away everybody who waits or will wait.
func (w *wish) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.settleLocked(errClosed)
}

func (w *wish) settleLocked(err error) {
	if w.answer != nil {
		w.answer.err = err
		close(w.answer.done)
		w.answer = nil
	}
}
