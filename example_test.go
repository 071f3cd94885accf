package steelyard_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/steelyard-go/steelyard/attrs"
	_ "github.com/steelyard-go/steelyard/balancers/all"
	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancers/weighted"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
)

// A server registers itself with weight and zone, and leaves in order.
func Example_server() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{"127.0.0.1:2379"},
		DialKeepAliveTime:    10 * time.Second, // notices a connection that died without a word
		DialKeepAliveTimeout: 3 * time.Second,
	})
	check(err)
	defer etcd.Close()
	listener, err := net.Listen("tcp", ":8080")
	check(err)
	addr, err := etcdregistry.AdvertiseAddr(listener.Addr()) // what others can reach
	check(err)

	server := grpc.NewServer() // register your services on it
	go func() { check(server.Serve(listener)) }()
	registration, err := etcdregistry.Register(ctx, etcd, "payments", etcdregistry.Instance{
		Addr:  addr,
		Attrs: attrs.Attrs{Weight: 4, Zone: "eu-1a"},
	})
	check(err)

	<-ctx.Done()
	_ = registration.Close(context.Background()) // drains, then removes the key
	server.GracefulStop()                        // lets the calls in flight finish
}

// A client finds the servers in etcd and balances by the policy it names.
func Example_client() {
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{"127.0.0.1:2379"},
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
	})
	check(err)
	defer etcd.Close()

	conn, err := grpc.NewClient("etcd:///payments",
		grpc.WithResolvers(etcdresolver.NewBuilder(etcd)),
		grpc.WithDefaultServiceConfig(p2c.Config{}.ServiceConfig()),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	defer conn.Close()
	// Use conn with your generated client.
}

// Weights need no etcd: any resolver can set them, gRPC's manual one too.
func Example_withoutEtcd() {
	backends := manual.NewBuilderWithScheme("static")
	backends.InitialState(resolver.State{Endpoints: []resolver.Endpoint{
		attrs.Set(endpoint("10.0.0.7:8080"), attrs.Attrs{Weight: 4}),
		attrs.Set(endpoint("10.0.0.8:8080"), attrs.Attrs{Weight: 1}),
	}})
	conn, err := grpc.NewClient("static:///payments",
		grpc.WithResolvers(backends),
		grpc.WithDefaultServiceConfig(weighted.Config{Schedule: weighted.Smooth}.ServiceConfig()),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	defer conn.Close()
	// Output:
}

// A picker is unit-tested with fake SubConns: no network, no goroutine.
func Example_unitTestOfAPicker() {
	info := base.PickerBuildInfo{ReadySCs: map[balancer.SubConn]base.SubConnInfo{}}
	for addr, weight := range map[string]uint32{"10.0.0.7:8080": 3, "10.0.0.8:8080": 1} {
		address := attrs.SetAddress(resolver.Address{Addr: addr}, attrs.Attrs{Weight: weight})
		info.ReadySCs[balancertest.NewSubConn(addr)] = base.SubConnInfo{Address: address}
	}
	picker := weighted.NewPickerBuilder(weighted.Config{Schedule: weighted.Smooth}).Build(info)

	calls := map[string]int{}
	for range 8 {
		picked, err := picker.Pick(balancer.PickInfo{Ctx: context.Background()})
		check(err)
		calls[fmt.Sprint(picked.SubConn)]++ // a fake's String is its address
	}
	fmt.Println(calls)
	// Output: map[10.0.0.7:8080:6 10.0.0.8:8080:2]
}

func endpoint(addr string) resolver.Endpoint {
	return resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
