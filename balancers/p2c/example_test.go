package p2c_test

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/steelyard-go/steelyard/balancers/p2c"
)

// A client chooses the policy in its service config.
func Example_serviceConfig() {
	config := p2c.Config{Choices: 3, Load: p2c.Requests}.ServiceConfig()
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
	fmt.Println(p2c.Config{}.ServiceConfig()) // the defaults
	// Output:
	// {"loadBalancingConfig":[{"steelyard_p2c":{"choices":3,"load":"requests"}}]}
	// {"loadBalancingConfig":[{"steelyard_p2c":{}}]}
}
