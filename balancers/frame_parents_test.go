package balancers_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	_ "google.golang.org/grpc/balancer/randomsubsetting" // a parent that hands down Endpoints only
	"google.golang.org/grpc/connectivity"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
)

func TestFrame_ServesASubsetUnderRandomSubsetting(t *testing.T) {
	r := register()
	c := balancertest.NewChannel(t, "random_subsetting_experimental",
		`{"subsetSize":3,"childPolicy":[{"steelyard_test":{"choices":4}}]}`)
	addrs := names(10)
	list := plain(addrs...)
	for i, addr := range addrs {
		list[i] = endpoint(attrs.Attrs{Weight: 6, Zone: "eu-1a"}, addr)
	}
	require.NoError(t, c.Update(list...))
	require.Equal(t, 3, c.Created())
	var subset []string
	for _, addr := range addrs {
		if c.SubConn(addr) != nil {
			subset = append(subset, addr)
		}
	}
	c.Ready(subset...)
	require.Equal(t, subset, serving(c))
	require.Equal(t, 4, r.last().cfg.Choices)
	require.EqualValues(t, 6, r.member(subset[0]).Attrs.Weight)
	require.Equal(t, "eu-1a", r.member(subset[0]).Attrs.Zone)

	c.SubConn(subset[0]).SetHealth(connectivity.TransientFailure, nil)
	require.Equal(t, subset[1:], serving(c))
}
