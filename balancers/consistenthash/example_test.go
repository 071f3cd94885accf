package consistenthash_test

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/balancertest"
)

// A client chooses the policy in its service config.
func Example_serviceConfig() {
	config := consistenthash.Config{
		RequestHashHeader: "x-user-id",
		OnMissingKey:      consistenthash.Fail,
		BoundedLoadFactor: 1.25,
	}.ServiceConfig()
	conn, err := grpc.NewClient("dns:///cache.example.com:443",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(config),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(config)
	// Output: {"loadBalancingConfig":[{"steelyard_consistent_hash":{"requestHashHeader":"x-user-id","onMissingKey":"fail","boundedLoadFactor":1.25}}]}
}

// Calls with one key go to one backend, whether the key comes by WithKey or in
// the request header of the config.
func ExampleWithKey() {
	info := base.PickerBuildInfo{ReadySCs: make(map[balancer.SubConn]base.SubConnInfo)}
	for _, addr := range []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"} {
		sc := balancertest.NewSubConn(addr)
		info.ReadySCs[sc] = base.SubConnInfo{Address: sc.Addresses()[0]}
	}
	picker := consistenthash.NewPickerBuilder(consistenthash.Config{RequestHashHeader: "x-user-id"}).Build(info)

	byKey := consistenthash.WithKey(context.Background(), "alice")
	byHeader := metadata.AppendToOutgoingContext(context.Background(), "x-user-id", "alice")
	one, err := picker.Pick(balancer.PickInfo{Ctx: byKey})
	if err != nil {
		fmt.Println(err)
		return
	}
	other, err := picker.Pick(balancer.PickInfo{Ctx: byHeader})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(one.SubConn == other.SubConn)
	// Output: true
}
