package e2e

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/steelyard-go/steelyard/attrs"
)

// heldCall is a stream in flight.
type heldCall struct {
	grpc.ClientStream
	server string // that answers it
}

// hold begins a stream and waits for the server's first word.
func (c *policyClient) hold(ctx context.Context, tb testing.TB, key string) heldCall {
	tb.Helper()
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := c.conn.NewStream(metadata.AppendToOutgoingContext(ctx, keyHeader, key), desc, holdMethod)
	require.NoError(tb, err)
	var first wrapperspb.StringValue
	require.NoError(tb, stream.RecvMsg(&first))
	return heldCall{ClientStream: stream, server: first.GetValue()}
}

// echo has the stream say something and hear it.
func (h heldCall) echo(tb testing.TB, what string) {
	tb.Helper()
	require.NoError(tb, h.SendMsg(wrapperspb.String(what)))
	var heard wrapperspb.StringValue
	require.NoError(tb, h.RecvMsg(&heard))
	require.Equal(tb, what, heard.GetValue())
}

// finish ends the stream in good order.
func (h heldCall) finish(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, h.CloseSend())
	require.ErrorIs(tb, h.RecvMsg(new(wrapperspb.StringValue)), io.EOF)
}

func TestPolicies_DrainingBackendTakesNoNewCalls(t *testing.T) {
	forEachPolicy(t, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 3)
		c, r := dialManual(t, endpointsOf(servers), p.serviceConfig())
		c.awaitAll(t, servers)
		held := c.hold(policyContext(t), t, "any")
		draining := make([]attrs.Attrs, len(servers))
		for i, s := range servers {
			draining[i].Draining = s.addr == held.server
		}

		// From the moment that the resolver has handed the list over no call goes there.
		r.UpdateState(endpointsOf(servers, draining...))
		require.Zero(t, c.spread(t, 300)[held.server])
		held.echo(t, "still here")

		for i := range draining {
			draining[i].Draining = true
		}
		r.UpdateState(endpointsOf(servers, draining...))
		c.awaitAll(t, servers) // all drain: all serve
		held.echo(t, "and here")

		draining[0].Draining = false
		r.UpdateState(endpointsOf(servers, draining...))
		require.Equal(t, map[string]int{servers[0].addr: 50}, c.spread(t, 50))

		r.UpdateState(endpointsOf(servers))
		c.awaitAll(t, servers)
		held.finish(t)
		accepted, closed := connections(servers)
		require.Equal(t, []int64{3, 0}, []int64{accepted, closed}, "draining costs no connection")
	})
}
