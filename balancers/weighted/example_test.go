package weighted_test

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/weighted"
	"github.com/steelyard-go/steelyard/balancertest"
)

// A client chooses the policy in its service config.
func Example_serviceConfig() {
	config := weighted.Config{Schedule: weighted.Smooth}.ServiceConfig()
	conn, err := grpc.NewClient("dns:///payments.example.com:443",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(config),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(config)
	// Output: {"loadBalancingConfig":[{"steelyard_weighted":{"schedule":"smooth"}}]}
}

// A picker is tested with fake connections.
func ExampleNewPickerBuilder() {
	info := base.PickerBuildInfo{ReadySCs: make(map[balancer.SubConn]base.SubConnInfo)}
	for addr, weight := range map[string]uint32{"10.0.0.1:80": 1, "10.0.0.2:80": 3} {
		address := attrs.SetAddress(resolver.Address{Addr: addr}, attrs.Attrs{Weight: weight})
		info.ReadySCs[balancertest.NewSubConn(addr)] = base.SubConnInfo{Address: address}
	}
	picker := weighted.NewPickerBuilder(weighted.Config{Schedule: weighted.Smooth}).Build(info)
	counts := make(map[string]int)
	for range 400 {
		result, err := picker.Pick(balancer.PickInfo{})
		if err != nil {
			fmt.Println(err)
			return
		}
		counts[fmt.Sprint(result.SubConn)]++
	}
	fmt.Println(counts)
	// Output: map[10.0.0.1:80:100 10.0.0.2:80:300]
}
