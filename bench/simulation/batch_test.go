package simulation

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// batch is what one command runs.
type batch struct {
	scenarios []scenario // with their defaults
	policies  *regexp.Regexp
	clients   []int // only these numbers, nil for all that the scenarios have
	seeds     int
	firstSeed uint64
}

// task is one table of the output.
type task struct {
	scenario *scenario
	clients  int
	policies []policy
}

func (b *batch) tasks() []task {
	var tasks []task
	for i := range b.scenarios {
		sc := &b.scenarios[i]
		for _, n := range sc.clients {
			if b.clients != nil && !slices.Contains(b.clients, n) {
				continue
			}
			if run := b.policiesFor(sc, n); len(run) > 0 {
				tasks = append(tasks, task{scenario: sc, clients: n, policies: run})
			}
		}
	}
	return tasks
}

// policiesFor returns the policies that run in sc.
func (b *batch) policiesFor(sc *scenario, clients int) []policy {
	var run []policy
	for _, p := range policies {
		wanted := !p.variant || slices.Contains(sc.also, p.label)
		if wanted && b.policies.MatchString(p.label) && (p.maxConns == 0 || clients*sc.backends <= p.maxConns) {
			run = append(run, p)
		}
	}
	return run
}

// run runs everything, printing each table when it is complete, then judges the
// promises.
func (b *batch) run(t *testing.T, out io.Writer) (*results, []verdict) {
	tasks, r, begun := b.tasks(), new(results), time.Now()
	for i, task := range tasks {
		sc, start := task.scenario, time.Now()
		fmt.Fprintf(out, "\n[%d/%d] %s, %d clients: %d backends, load %g, %d seeds\n",
			i+1, len(tasks), sc.name, task.clients, sc.backends, sc.load, b.seeds)
		records, err := b.simulate(t, task)
		if err != nil {
			t.Errorf("%s, %d clients: %v", sc.name, task.clients, err)
		}
		r.add(records...)
		r.writeTable(out, sc, task.clients, task.policies)
		calls := 0
		for _, rec := range records {
			calls += rec.Total
		}
		took := time.Since(start)
		fmt.Fprintf(out, "%.1f million calls in %.1f s; %.0f s since the start\n",
			float64(calls)/1e6, took.Seconds(), time.Since(begun).Seconds())
	}
	verdicts := b.judge(r, tasks)
	if len(verdicts) > 0 {
		fmt.Fprintln(out)
		writeVerdicts(out, verdicts)
	}
	return r, verdicts
}

func (b *batch) judge(r *results, tasks []task) []verdict {
	var verdicts []verdict
	for _, task := range tasks {
		for _, p := range task.scenario.promises {
			if p.clients == 0 || p.clients == task.clients {
				verdicts = append(verdicts, p.judge(r, task.scenario, task.clients))
			}
		}
	}
	return verdicts
}

// simulate runs each policy with each seed, as many at once as there are
// processors.
func (b *batch) simulate(t *testing.T, task task) ([]record, error) {
	records := make([]record, len(task.policies)*b.seeds)
	failures := make([]error, len(records))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(records)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(records); i = int(next.Add(1)) - 1 {
				p, seed := task.policies[i/b.seeds], b.firstSeed+uint64(i%b.seeds)
				o, err := inBubble(t, task.scenario, task.clients, p, seed)
				if err != nil {
					failures[i] = fmt.Errorf("%s, seed %d: %w", p.label, seed, err)
				}
				records[i] = record{
					Scenario: task.scenario.name, Clients: task.clients, Policy: p.label, Seed: seed, outcome: o,
				}
			}
		})
	}
	workers.Wait()
	return slices.DeleteFunc(records, func(r record) bool { return r.Calls == 0 }), errors.Join(failures...)
}

// inBubble runs sc in a bubble of its own.
func inBubble(t *testing.T, sc *scenario, clients int, p policy, seed uint64) (o outcome, err error) {
	synctest.Test(t, func(*testing.T) { o, err = run(sc, clients, p, seed) })
	return o, err
}
