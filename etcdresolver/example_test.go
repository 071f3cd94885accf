package etcdresolver_test

import (
	"log"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/steelyard-go/steelyard/etcdresolver"
)

func ExampleNewBuilder() {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	etcd := etcdresolver.NewBuilder(client, etcdresolver.WithZone("eu-1a")) // share it among all channels

	conn, err := grpc.NewClient("etcd:///payments",
		grpc.WithResolvers(etcd),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"steelyard_p2c":{}}]}`))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	defer conn.Close() // before the client
}

// The services of a namespace are seen through etcd's own wrapper.
func ExampleNewBuilder_namespace() {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	client.KV = namespace.NewKV(client.KV, "staging/")
	client.Watcher = namespace.NewWatcher(client.Watcher, "staging/")

	_ = etcdresolver.NewBuilder(client) // etcd:///payments are the keys staging/payments/<id>
}
