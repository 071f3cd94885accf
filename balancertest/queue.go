package balancertest

import "sync"

// queue is the order in which a channel speaks to its policy: one task at a
// time, first come, first served.
type queue struct {
	mu      sync.Mutex
	idle    *sync.Cond // signalled when running becomes false
	tasks   []func()
	running bool // some goroutine is in drain
	closed  bool // nothing runs any more
}

func newQueue() *queue {
	q := &queue{}
	q.idle = sync.NewCond(&q.mu)
	return q
}

// later runs task after those that wait. It neither blocks nor runs anything on
// the caller's goroutine: the caller is the policy, perhaps with its lock held.
func (q *queue) later(task func()) {
	if q.push(task) {
		go q.drain()
	}
}

// run runs task after those that wait, and returns when nothing waits any more.
// The caller is the test, and must not be inside a task.
func (q *queue) run(task func()) {
	if q.push(task) {
		q.drain() // on the test's own goroutine, so that a panic shows its stack
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.running {
		q.idle.Wait()
	}
}

// close drops what waits and all that comes.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.tasks = true, nil
}

// push appends task and reports whether the caller is the one to drain.
func (q *queue) push(task func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.tasks = append(q.tasks, task)
	drains := !q.running
	q.running = true
	return drains
}

// pop returns the next task, or nil when there is none and running has ended.
func (q *queue) pop() func() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.tasks) == 0 {
		q.tasks, q.running = nil, false
		q.idle.Broadcast()
		return nil
	}
	task := q.tasks[0]
	q.tasks[0] = nil
	q.tasks = q.tasks[1:]
	return task
}

func (q *queue) drain() {
	finished := false
	defer func() {
		// A task that panics, or ends the test with FailNow, leaves the policy in
		// the middle of something, perhaps with its lock held: nothing may follow.
		if !finished {
			q.close()
			q.pop()
		}
	}()
	for task := q.pop(); task != nil; task = q.pop() {
		task()
	}
	finished = true
}
