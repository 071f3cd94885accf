package etcdregistry_test

import (
	"context"
	"log"
	"net"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
)

// A server registers itself when it listens, and leaves before it stops.
func ExampleRegister() {
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{"etcd-0:2379", "etcd-1:2379", "etcd-2:2379"},
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer etcd.Close()

	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer() // and register the services on it
	go server.Serve(listener)

	addr, err := etcdregistry.AdvertiseAddr(listener.Addr())
	if err != nil {
		log.Fatal(err)
	}
	starting, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	registration, err := etcdregistry.Register(starting, etcd, "payments", etcdregistry.Instance{
		Addr:  addr,
		Attrs: attrs.Attrs{Weight: 5, Zone: "eu-1a", Labels: map[string]string{"version": "1.4.2"}},
	})
	if err != nil {
		log.Fatal(err)
	}

	interrupted, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-interrupted.Done()
	if err := registration.Close(context.Background()); err != nil {
		log.Print(err)
	}
	server.GracefulStop()
}

// A running server changes its weight. Clients follow within milliseconds and
// keep their connections.
func ExampleRegistration_Update() {
	var registration *etcdregistry.Registration // from Register
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := registration.Update(ctx, attrs.Attrs{Weight: 8, Zone: "eu-1a"}); err != nil {
		log.Print(err) // it will still be written once etcd answers
	}
}
