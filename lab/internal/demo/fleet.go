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

// start launches servers and has them join.
func (f *fleet) start(ctx context.Context, configs ...serverConfig) error {
	launched, err := f.launch(ctx, configs...)
	if err != nil {
		return err
	}
	return f.join(ctx, launched...)
}

// launch runs servers that listen, but are in no registry yet.
func (f *fleet) launch(ctx context.Context, configs ...serverConfig) ([]*server, error) {
	launched := make([]*server, len(configs))
	err := atOnce(configs, func(i int, c serverConfig) error {
		c.Etcd, c.Service = f.etcd, f.service
		process, err := child.Start(ctx, childName, c)
		if err == nil {
			launched[i] = &server{serverConfig: c, addr: process.Note(), process: process}
		}
		return err
	})
	launched = slices.DeleteFunc(launched, func(s *server) bool { return s == nil })
	f.started = append(f.started, launched...)
	return launched, err
}

// join has servers register, and returns when each has.
func (f *fleet) join(ctx context.Context, servers ...*server) error {
	f.serving = append(f.serving, servers...)
	return atOnce(servers, func(_ int, s *server) error { return s.update(ctx, s.Weight) })
}

// atOnce does the same for all, at the same time.
func atOnce[T any](all []T, do func(i int, one T) error) error {
	errs := make([]error, len(all))
	var doing sync.WaitGroup
	for i, one := range all {
		doing.Go(func() { errs[i] = do(i, one) })
	}
	doing.Wait()
	return errors.Join(errs...)
}

// get returns the server of that name.
func (f *fleet) get(name string) *server {
	i := slices.IndexFunc(f.started, func(s *server) bool { return s.Name == name })
	return f.started[i]
}

// at returns the server at the address, nil if there never was one.
func (f *fleet) at(addr string) *server {
	for _, s := range f.started {
		if s.addr == addr {
			return s
		}
	}
	return nil
}

// serves tells whether the server of that name shall take calls.
func (f *fleet) serves(name string) bool {
	return slices.ContainsFunc(f.serving, func(s *server) bool { return s.Name == name })
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

// close ends all processes.
func (f *fleet) close() error {
	return atOnce(f.started, func(_ int, s *server) error { return s.process.Stop(stopTimeout) })
}

// weights are those of the serving servers, by name.
func (f *fleet) weights() map[string]uint32 {
	weights := make(map[string]uint32, len(f.serving))
	for _, s := range f.serving {
		weights[s.Name] = s.Weight
	}
	return weights
}
