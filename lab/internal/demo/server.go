package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/internal/child"
)

const (
	childName = "demo-server"

	// leaseTTL is short, so that nobody waits long for the lease of a killed
	// server. A service should keep the default of 20 s.
	leaseTTL = 5 * time.Second

	etcdTimeout = 10 * time.Second
)

// serverConfig is what a server process is told.
type serverConfig struct {
	Etcd    string // host:port
	Service string
	Name    string
	Zone    string
	Weight  uint32
}

// RunIfChild runs one of the demo's servers and exits if this process was
// started as one; otherwise it returns at once. Call it first thing in main or
// TestMain.
func RunIfChild() { child.RunIf(childName, serve) }

// serve is the main of a server process: what a real server does, and no more.
// Its commands are the attributes it shall register from then on, as JSON; it is
// in etcd from the first one on.
func serve(ctx context.Context, env *child.Env) error {
	var config serverConfig
	if err := json.Unmarshal(env.Config, &config); err != nil {
		return fmt.Errorf("config of a demo server: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	server.RegisterService(&scaleDesc, scale(config.Name))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	e := entry{config: config, addr: listener.Addr().String()}
	env.Ready(e.addr)
	for ctx.Err() == nil {
		select {
		case err = <-served:
			return err
		case <-ctx.Done():
		case command, ok := <-env.Commands:
			if ok {
				command.Answer(e.set(ctx, command.Text))
			}
		}
	}
	// First out of etcd, so that no client comes any more, then out of service.
	err = e.remove()
	server.GracefulStop()
	return err
}

// entry is what a server has in etcd.
type entry struct {
	config       serverConfig
	addr         string
	registration *etcdregistry.Registration // nil before the first command
}

// set registers the attributes of a command.
func (e *entry) set(ctx context.Context, command string) error {
	var a attrs.Attrs
	if err := json.Unmarshal([]byte(command), &a); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	if e.registration != nil {
		return e.registration.Update(ctx, a)
	}
	client, err := newEtcdClient(e.config.Etcd)
	if err != nil {
		return err
	}
	instance := etcdregistry.Instance{ID: e.config.Name, Addr: e.addr, Attrs: a}
	e.registration, err = etcdregistry.Register(ctx, client, e.config.Service, instance,
		etcdregistry.WithTTL(leaseTTL), etcdregistry.WithDrainDelay(0))
	return err
}

func (e *entry) remove() error {
	if e.registration == nil {
		return nil
	}
	return e.registration.Close(context.Background())
}

// newEtcdClient gives a client that is quiet about an etcd that is away: the
// demo says so itself.
func newEtcdClient(addr string) (*clientv3.Client, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:         []string{addr},
		DialTimeout:       etcdTimeout,
		DialKeepAliveTime: 10 * time.Second,
		Logger:            zap.NewNop(),
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("etcd client for %q", addr), err)
	}
	return client, nil
}
