package demo

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/lab/internal/child"
)

// stopTimeout is more than a registration takes to leave when etcd is away.
const stopTimeout = 6 * time.Second

// server is one server process, as the demo sees it.
type server struct {
	serverConfig
	addr    string
	process *child.Process
}

// fleet is the server processes. It is used by one goroutine.
type fleet struct {
	etcd    string
	service string
	started []*server // all that ever were
	serving []*server // those that shall take calls, in the order they came
}

// start runs servers, all at the same time, and returns when each is registered.
func (f *fleet) start(ctx context.Context, configs ...serverConfig) error {
	servers := make([]*server, len(configs))
	errs := make([]error, len(configs))
	var starting sync.WaitGroup
	for i, c := range configs {
		c.Etcd, c.Service = f.etcd, f.service
		starting.Go(func() {
			process, err := child.Start(ctx, childName, c)
			if err != nil {
				errs[i] = err
				return
			}
			servers[i] = &server{serverConfig: c, addr: process.Note(), process: process}
		})
	}
	starting.Wait()
	servers = slices.DeleteFunc(servers, func(s *server) bool { return s == nil })
	f.started = append(f.started, servers...)
	f.serving = append(f.serving, servers...)
	return errors.Join(errs...)
}

// get returns the server of that name.
func (f *fleet) get(name string) *server {
	i := slices.IndexFunc(f.started, func(s *server) bool { return s.Name == name })
	return f.started[i]
}

// update has the server register another weight.
func (s *server) update(ctx context.Context, weight uint32) error {
	s.Weight = weight
	return s.register(ctx, attrs.Attrs{Weight: weight, Zone: s.Zone})
}

func (s *server) register(ctx context.Context, a attrs.Attrs) error {
	command, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return s.process.Do(ctx, string(command))
}

// drain has the server take no new calls.
func (f *fleet) drain(ctx context.Context, s *server) error {
	f.retire(s)
	return s.register(ctx, attrs.Attrs{Weight: s.Weight, Zone: s.Zone, Draining: true})
}

// kill ends the server with SIGKILL: it has no time to say good-bye to anyone.
func (f *fleet) kill(s *server) error {
	f.retire(s)
	return s.process.Kill()
}

// retire strikes the server off those that shall take calls.
func (f *fleet) retire(s *server) {
	f.serving = slices.DeleteFunc(f.serving, func(o *server) bool { return o == s })
}

// close ends all processes, all at the same time.
func (f *fleet) close() error {
	errs := make([]error, len(f.started))
	var stopping sync.WaitGroup
	for i, s := range f.started {
		stopping.Go(func() { errs[i] = s.process.Stop(stopTimeout) })
	}
	stopping.Wait()
	return errors.Join(errs...)
}

// weights are those of the serving servers, by name.
func (f *fleet) weights() map[string]uint32 {
	weights := make(map[string]uint32, len(f.serving))
	for _, s := range f.serving {
		weights[s.Name] = s.Weight
	}
	return weights
}
