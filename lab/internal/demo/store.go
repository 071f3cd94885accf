package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

const (
	ownService   = "demo"
	probeTimeout = 3 * time.Second
)

// store is the etcd of a demo, and the service that the demo keeps in it.
type store struct {
	addr    string
	service string
	client  *clientv3.Client
	own     *localetcd.Process // nil when the etcd is the user's
}

// openStore starts an etcd, or uses the one at addr if there is an addr.
func openStore(ctx context.Context, addr string) (*store, error) {
	if addr != "" {
		return openUsers(ctx, addr)
	}
	own, err := localetcd.NewProcess()
	if err != nil {
		return nil, err
	}
	client, err := newEtcdClient(own.Addr())
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	return &store{addr: own.Addr(), service: ownService, client: client, own: own}, nil
}

// openUsers uses an etcd that may hold anything: the service gets a name that
// nothing else there has.
func openUsers(ctx context.Context, addr string) (*store, error) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, fmt.Errorf("etcd: got %q, want host:port such as 127.0.0.1:2379", addr)
	}
	client, err := newEtcdClient(addr)
	if err != nil {
		return nil, err
	}
	s := &store{addr: addr, service: fmt.Sprintf("steelyard-demo-%08x", rand.Uint32()), client: client}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if _, err := client.Get(ctx, s.prefix()); err != nil {
		return nil, errors.Join(fmt.Errorf("etcd: no etcd answers at %s: %w", addr, err), client.Close())
	}
	return s, nil
}

func (s *store) prefix() string { return s.service + "/" }

// close ends the demo's own etcd, or removes the demo's keys from the user's.
// The servers have left by then, but for one that was killed or could not.
func (s *store) close() error {
	var err error
	if s.own == nil {
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		if _, err = s.client.Delete(ctx, s.prefix(), clientv3.WithPrefix()); err != nil {
			err = fmt.Errorf("keys under %s may be left for %v: %w", s.prefix(), leaseTTL, err)
		}
	}
	err = errors.Join(err, s.client.Close())
	if s.own != nil {
		err = errors.Join(err, s.own.Close())
	}
	return err
}
