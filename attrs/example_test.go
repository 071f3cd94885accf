package attrs_test

import (
	"fmt"

	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
)

// A resolver says what it knows of an endpoint; policies read it.
func Example() {
	e := resolver.Endpoint{Addresses: []resolver.Address{{Addr: "10.0.0.7:8080"}}}
	e = attrs.Set(e, attrs.Attrs{Weight: 5, Zone: "eu-1a", Labels: map[string]string{"version": "1.4.2"}})

	a := attrs.FromEndpoint(e)
	fmt.Println(a.Weight, a.Zone, a.Draining, a.Labels["version"])
	// Output: 5 eu-1a false 1.4.2
}

// A resolver that knows the client's own zone says so once for the whole list.
func ExampleSetLocalZone() {
	s := resolver.State{Endpoints: []resolver.Endpoint{{Addresses: []resolver.Address{{Addr: "10.0.0.7:8080"}}}}}
	s = attrs.SetLocalZone(s, "eu-1a")
	fmt.Println(attrs.LocalZone(s))
	// Output: eu-1a
}
