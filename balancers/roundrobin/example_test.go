package roundrobin_test

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/steelyard-go/steelyard/balancers/roundrobin"
)

// A client chooses the policy in its service config.
func Example_serviceConfig() {
	conn, err := grpc.NewClient("dns:///payments.example.com:443",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(roundrobin.Config{}.ServiceConfig()),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(roundrobin.Config{}.ServiceConfig())
	// Output: {"loadBalancingConfig":[{"steelyard_round_robin":{}}]}
}
