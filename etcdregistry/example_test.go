package etcdregistry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

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

// etcd asks for a certificate and a password. The user needs a role that may read and
// write the keys under "payments/".
func ExampleRegister_tls() {
	certificate, err := tls.LoadX509KeyPair("server.crt", "server.key")
	if err != nil {
		log.Fatal(err)
	}
	ca, err := os.ReadFile("etcd-ca.crt")
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		log.Fatal("etcd-ca.crt holds no certificate")
	}
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://etcd-0:2379", "https://etcd-1:2379", "https://etcd-2:2379"},
		TLS:       &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		Username:  "payments", Password: os.Getenv("ETCD_PASSWORD"),
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer etcd.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	registration, err := etcdregistry.Register(ctx, etcd, "payments", etcdregistry.Instance{Addr: "10.0.0.7:8080"})
	if err != nil {
		log.Fatal(err) // at once, if the role does not permit it
	}
	defer registration.Close(context.Background())
}

// A process that serves several services registers them under one lease.
func ExampleRegistrar() {
	var etcd *clientv3.Client // from clientv3.New
	registrar, err := etcdregistry.NewRegistrar(etcd, etcdregistry.WithTTL(30*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer registrar.Close(context.Background()) // takes all of them out of service

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, service := range []string{"payments", "refunds"} {
		if _, err := registrar.Register(ctx, service, etcdregistry.Instance{Addr: "10.0.0.7:8080"}); err != nil {
			log.Fatal(err)
		}
	}
	log.Printf("%+v", registrar.Stats())
}

// The instance drains while the server's own health service says that it does not
// serve, as after Shutdown.
func ExampleWithHealth() {
	var etcd *clientv3.Client // from clientv3.New
	server, status := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, status)
	status.SetServingStatus("payments", healthpb.HealthCheckResponse_SERVING)

	registration, err := etcdregistry.Register(context.Background(), etcd, "payments",
		etcdregistry.Instance{Addr: "10.0.0.7:8080"}, etcdregistry.WithHealth(status, "payments"))
	if err != nil {
		log.Fatal(err)
	}
	defer registration.Close(context.Background())

	status.SetServingStatus("payments", healthpb.HealthCheckResponse_NOT_SERVING) // no new calls from here on
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

// An operator gives a suspicious server a tenth of its load, for half an hour at most.
func ExampleSetOverride() {
	var etcd *clientv3.Client // from clientv3.New
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	override := etcdregistry.Override{Weight: 1, Reason: "slow disk, see incident 4711"}
	err := etcdregistry.SetOverride(ctx, etcd, "payments", "10.0.0.7:8080", override, 30*time.Minute)
	if err != nil {
		log.Fatal(err)
	}
	// And when it is well again:
	if _, err := etcdregistry.LiftOverride(ctx, etcd, "payments", "10.0.0.7:8080"); err != nil {
		log.Fatal(err)
	}
}
