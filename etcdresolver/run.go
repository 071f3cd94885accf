package etcdresolver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/steelyard-go/steelyard/etcdregistry"
)

// run follows a service in etcd from its first channel to its last.
type run struct {
	service   *service
	ctx       context.Context
	stop      context.CancelFunc
	feeds     []*feed     // the first is that of the instances
	gathering *debounce   // of changes
	recheck   *time.Timer // when a guard lets go

	// What follows is guarded by the lock of the service's knowledge.
	listed bool      // there is a list to go by, be it empty
	news   time.Time // when the first thing was told that is not published yet; zero for none
}

func startRun(s *service, listed bool) *run {
	ctx, stop := context.WithCancel(context.Background())
	r := &run{service: s, ctx: ctx, stop: stop, listed: listed}
	r.feeds = []*feed{newFeed(r, s.known.instances, prefixRange(s.name+"/"))}
	if s.opts.overrides {
		r.feeds = append(r.feeds, newFeed(r, s.known.overrides, prefixRange(etcdregistry.OverridePrefix(s.name))))
	}
	if key := s.opts.configKey(s.name); key != "" {
		r.feeds = append(r.feeds, newFeed(r, s.known.configs, keyRange{key, key + "\x00"}))
	}
	r.gathering = newDebounce(s.opts.debounce, func() { r.do(r.flushLocked) })
	r.recheck = stoppedTimer(func() { r.do(r.flushLocked) })
	go r.follow()
	return r
}

// follow ends soon after the run is stopped, and leaves nothing behind.
func (r *run) follow() {
	defer r.end()
	store, link := r.open()
	if store == nil {
		return
	}
	defer r.service.source.close()
	var under sync.WaitGroup
	defer under.Wait()
	for _, f := range r.feeds {
		f.store, f.lister.store, f.link = store, store, link
		under.Go(func() { f.follow(r.ctx) })
	}
	if link != nil {
		under.Go(func() { link.watch(r.ctx, r.reconnected) })
	}
}

// errNoClient is what channels without a list are told while the client is being made.
var errNoClient = errors.New("the etcd client is still connecting or logging in")

// open returns etcd, or nil once the run is stopped.
func (r *run) open() (store, *link) {
	late := time.AfterFunc(listTimeout[0], func() { r.do(func() { r.reportLocked(errNoClient) }) })
	trouble := ""
	for failures := 0; r.ctx.Err() == nil; failures++ {
		store, link, failed := r.service.source.open(r.ctx)
		late.Stop()
		if failed == nil {
			return store, link
		}
		if r.do(func() { r.reportLocked(failed.err) }) && trouble != failed.err.Error() {
			trouble = failed.err.Error() // once is enough
			r.service.log.Warn("etcdresolver: no etcd client", "error", failed.err, "failures", failures+1)
		}
		r.feeds[0].pause(r.ctx, time.Until(failed.again))
	}
	return nil, nil
}

func (r *run) end() {
	k := r.service.known
	k.mu.Lock()
	defer k.mu.Unlock()
	r.gathering.due.Stop()
	r.recheck.Stop()
	r.service.log.Debug("etcdresolver: closed", "endpoints", len(k.table.list))
}

// do calls f under the lock of the knowledge, unless the run was stopped: what
// comes late must not undo what the next run knows.
func (r *run) do(f func()) bool {
	k := r.service.known
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.ctx.Err() != nil {
		return false
	}
	f()
	return true
}

// flushLocked publishes what is known, if it is news to the channels. A channel
// without endpoints gets the first ones together with what concerns them.
func (r *run) flushLocked() {
	k := r.service.known
	r.gathering.clear()
	if !r.listed || len(k.table.list) == 0 && !r.allAnswered() {
		return
	}
	list, gone := k.table.refresh()
	now := time.Now()
	k.guards.forget(k.table.drains)
	guarded := k.guards.apply(now, list, gone, r.feeds[0].synced)
	if (guarded.held > 0) != (k.held > 0) {
		r.service.log.Warn("etcdresolver: guard", "held", guarded.held, "held_before", k.held, "listed", len(list))
	}
	k.held = guarded.held
	if !guarded.next.IsZero() {
		r.recheck.Reset(guarded.next.Sub(now))
	}
	o := &outcome{list: guarded.list, held: guarded.held, config: k.config}
	if len(o.list) == 0 {
		o.err = r.whyEmptyLocked()
	}
	r.service.publish(r, o, r.news)
	r.news = time.Time{}
}

func (r *run) allAnswered() bool {
	for _, f := range r.feeds {
		if !f.answered {
			return false
		}
	}
	return true
}

func (r *run) whyEmptyLocked() error {
	table := r.service.known.table
	err := fmt.Errorf("no instances registered under %s in etcd at %v", table.prefix, r.service.source.endpoints())
	if refused, why := table.refusals(); refused > 0 {
		err = fmt.Errorf("%w (%d refused: %w)", err, refused, why)
	}
	return err
}

// reportLocked tells channels that have no list what they wait for.
func (r *run) reportLocked(cause error) {
	if !r.listed {
		r.service.publish(r, &outcome{err: fmt.Errorf("no list of %s from etcd at %v yet: %w",
			r.service.known.table.prefix, r.service.source.endpoints(), cause)}, time.Time{})
	}
}

// tell takes in what f's watch told.
func (r *run) tell(f *feed, apply func() error) error {
	k := r.service.known
	err := context.Canceled // unless the run goes on
	r.do(func() {
		config := k.config
		if err = apply(); err != nil {
			return
		}
		if !f.extra {
			k.counts.LastSynced = time.Now()
		}
		if len(k.table.touched) == 0 && k.config == config && len(k.table.list) > 0 {
			return // why a list is empty may be new
		}
		if r.news.IsZero() {
			r.news = time.Now()
		}
		r.gathering.add()
	})
	return err
}

// unknown tells whether f never got a list, nor did an earlier run, or whether there is
// nothing in it to go by.
func (r *run) unknown(f *feed) (unknown bool) {
	r.do(func() { unknown = f.replica.revision == 0 || !f.extra && !r.listed })
	return unknown
}

// list takes in f's list.
func (r *run) list(f *feed, linearizable bool, apply func()) bool {
	k := r.service.known
	return r.do(func() {
		apply()
		f.answered, f.synced = true, linearizable
		k.counts.Lists++
		if !f.extra {
			r.listed = linearizable || len(k.table.byAddr) > 0 // a member that lags behind may know of none
			if linearizable {
				k.counts.LastSynced = time.Now()
			}
		}
		r.flushLocked()
	})
}

// degraded notes that a session of f's ended, and returns the revision up to which all
// is known, 0 if nothing is.
func (r *run) degraded(f *feed, cause error) (revision int64) {
	r.do(func() {
		revision = f.replica.revision
		f.answered, f.synced = true, false
		r.service.known.counts.Sessions[causeOf(cause)]++
		if f.extra {
			r.flushLocked() // it may have been all that was waited for
		} else {
			r.reportLocked(cause)
		}
	})
	return revision
}

// reconnected is called when the connection to etcd is there again.
func (r *run) reconnected() {
	for _, f := range r.feeds {
		signal(f.renewed)
	}
}

// turn returns how long to wait for a list after what happens to all clients of an
// etcd at once: channels that nothing serves meanwhile want theirs at once.
func (r *run) turn() (wait time.Duration) {
	r.do(func() {
		if k := r.service.known; len(k.table.list)+k.held > 0 {
			wait = rand.N(crowdSpread)
		}
	})
	return wait
}
