package etcdresolver_test

import (
	"crypto/tls"
	"crypto/x509"
	"log"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/steelyard-go/steelyard/etcdresolver"
)

// With TLS, client certificates and a user. What a client needs to read is
//
//	etcdctl role add payments-client
//	etcdctl role grant-permission payments-client read --prefix payments/
//	etcdctl role grant-permission payments-client read --prefix steelyard/overrides/payments/
//	etcdctl role grant-permission payments-client read steelyard/config/payments
//
// Without the second the overrides, and without the third the service config, do
// not reach the client, which says so in its log.
func ExampleNewBuilder_tls() {
	certificate, err := tls.LoadX509KeyPair("client.pem", "client.key")
	if err != nil {
		log.Fatal(err)
	}
	ca, err := os.ReadFile("ca.pem")
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		log.Fatal("ca.pem: no certificate")
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{"etcd-1.internal:2379", "etcd-2.internal:2379"},
		TLS:                  &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots, MinVersion: tls.VersionTLS12},
		Username:             "payments-client",
		Password:             os.Getenv("ETCD_PASSWORD"),
		DialTimeout:          5 * time.Second, // bounds the login
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	_ = etcdresolver.NewBuilder(client)
}

// The target says which etcd to ask; the config says how.
func ExampleNewTargetBuilder() {
	etcd := etcdresolver.NewTargetBuilder(clientv3.Config{Username: "payments-client", Password: os.Getenv("ETCD_PASSWORD")})
	conn, err := grpc.NewClient("etcd://10.0.0.1:2379,10.0.0.2:2379/payments",
		grpc.WithResolvers(etcd),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close() // and with the last channel the client of etcd
}

// An operator switches the policy of all clients by
//
//	etcdctl put steelyard/config/payments '{"loadBalancingConfig":[{"steelyard_p2c":{}}]}'
func ExampleWithServiceConfig() {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	_ = etcdresolver.NewBuilder(client, etcdresolver.WithServiceConfig(""))
}

func ExampleBuilder_Stats() {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	etcd := etcdresolver.NewBuilder(client)
	// ... channels come and go ...
	for _, s := range etcd.Stats() {
		log.Printf("%s: %s, %d endpoints, %d of them held, confirmed %v ago", s.Service, s.State, s.Endpoints, s.Held,
			time.Since(s.LastSynced).Round(time.Second))
	}
}
