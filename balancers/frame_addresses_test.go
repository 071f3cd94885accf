package balancers_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/connectivity"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
)

func TestFrame_SeveralAddressesAreOneBackend(t *testing.T) {
	c, r := host(t)
	require.NoError(t, c.Update(endpoint(attrs.Attrs{Weight: 5}, "a1", "a2", "a3"), endpoint(attrs.Attrs{}, "b")))
	require.Equal(t, connectivity.Connecting, c.SubConn("a1").State())
	require.Nil(t, c.SubConn("a2"), "the first address comes first")

	c.Fail(errors.New("refused"), "a1")
	c.Ready("a2", "b")
	require.Equal(t, []string{"a2", "b"}, serving(c))
	require.Len(t, r.last().Backends, 2)
	a := r.last().Backends[0]
	require.Equal(t, "a1", a.Address.Addr, "the first address names the backend")
	require.EqualValues(t, 5, a.Attrs.Weight)
	require.Nil(t, c.SubConn("a1"), "the connected address is the only one left")
	require.Nil(t, c.SubConn("a3"))
}

func TestFrame_AnEndpointFailsWhenAllItsAddressesHave(t *testing.T) {
	c, _ := host(t)
	require.NoError(t, c.Update(endpoint(attrs.Attrs{}, "a1", "a2")))
	c.Fail(errors.New("refused 1"), "a1")
	require.Equal(t, connectivity.Connecting, c.State())
	c.Fail(errors.New("refused 2"), "a2")
	require.Equal(t, connectivity.TransientFailure, c.State())
	_, err := c.Pick(t.Context())
	require.ErrorContains(t, err, "none of 1 endpoints")
	require.ErrorContains(t, err, "refused 2")

	c.Idle("a1")
	require.Equal(t, connectivity.TransientFailure, c.State(), "trying again is no success")
	c.Ready("a1")
	require.Equal(t, []string{"a1"}, serving(c))
}

func TestFrame_WhatFailedBeforeTheEndpointConnectedDoesNotCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, _ := host(t)
		require.NoError(t, c.Update(endpoint(attrs.Attrs{}, "a1", "a2")))
		c.Fail(nil, "a1")
		c.Ready("a1")
		c.Idle("a1")
		pass(250 * time.Millisecond) // a1 is slow
		c.Fail(nil, "a2")
		require.Equal(t, connectivity.Connecting, c.SubConn("a1").State())
		require.Equal(t, connectivity.Connecting, c.State(), "a1 may still connect")
		c.Fail(nil, "a1")
		require.Equal(t, connectivity.TransientFailure, c.State())
	})
}

func TestFrame_ThatAllAddressesHaveFailedIsSaidOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, _ := host(t)
		require.NoError(t, c.Update(endpoint(attrs.Attrs{}, "a1", "a2")))
		c.Fail(nil, "a1", "a2")
		require.Equal(t, connectivity.TransientFailure, c.State())
		updates := c.Updates()
		pass(time.Second)
		require.Equal(t, updates, c.Updates())
	})
}

func TestFrame_TheNextAddressIsTriedBesideASlowOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, _ := host(t)
		require.NoError(t, c.Update(endpoint(attrs.Attrs{}, "a1", "a2", "a3")))
		pass(249 * time.Millisecond)
		require.Nil(t, c.SubConn("a2"))
		pass(time.Millisecond)
		require.Equal(t, connectivity.Connecting, c.SubConn("a2").State())
		require.Equal(t, connectivity.Connecting, c.SubConn("a1").State(), "the slow one goes on")
		require.Nil(t, c.SubConn("a3"))
		pass(250 * time.Millisecond)
		require.Equal(t, connectivity.Connecting, c.SubConn("a3").State())

		c.Ready("a2")
		require.Equal(t, []string{"a2"}, serving(c))
		require.Nil(t, c.SubConn("a1"))
		require.Nil(t, c.SubConn("a3"))
		pass(time.Second)
		require.Equal(t, 3, c.Created(), "a connected endpoint tries nothing more")
	})
}

func TestFrame_AFailureBringsTheNextAddressWithoutTheDelay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, _ := host(t)
		require.NoError(t, c.Update(endpoint(attrs.Attrs{}, "a1", "a2", "a3")))
		pass(200 * time.Millisecond)
		c.Fail(nil, "a1")
		require.NotNil(t, c.SubConn("a2"))
		pass(200 * time.Millisecond)
		require.Nil(t, c.SubConn("a3"), "the delay begins anew with each attempt")
		pass(50 * time.Millisecond)
		require.NotNil(t, c.SubConn("a3"))
	})
}

func TestFrame_NothingMoreIsTriedOnceAnAddressConnectsOrTheEndpointLeaves(t *testing.T) {
	for name, end := range map[string]func(c *balancertest.Channel) error{
		"connected":        func(c *balancertest.Channel) error { c.Ready("a1"); return nil },
		"left the list":    func(c *balancertest.Channel) error { return c.Update(plain("b")...) },
		"lost its others":  func(c *balancertest.Channel) error { return c.Update(plain("a1", "b")...) },
		"the list is void": func(c *balancertest.Channel) error { require.Error(t, c.Update()); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c, _ := host(t)
				require.NoError(t, c.Update(endpoint(attrs.Attrs{}, "a1", "a2"), plain("b")[0]))
				pass(100 * time.Millisecond)
				require.NoError(t, end(c))
				pass(time.Second)
				require.Nil(t, c.SubConn("a2"))
			})
		})
	}
}

func TestFrame_ALostEndpointStartsFromItsFirstAddress(t *testing.T) {
	c, _ := host(t)
	require.NoError(t, c.Update(endpoint(attrs.Attrs{}, "a1", "a2")))
	c.Fail(nil, "a1")
	c.Ready("a2")
	c.Idle("a2")
	require.Empty(t, serving(c))
	c.Ready("a1")
	require.Equal(t, []string{"a1"}, serving(c))
	require.Nil(t, c.SubConn("a2"))
}
