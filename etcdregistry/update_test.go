package etcdregistry

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

func TestUpdate_KeepsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 1}})
		before := s.key(testKey)
		want := attrs.Attrs{Weight: 8, Zone: "eu-1a", Draining: true, Labels: map[string]string{"version": "2"}}
		require.NoError(t, r.Update(t.Context(), want))
		after := s.key(testKey)
		require.Equal(t, before.lease, after.lease)
		require.Equal(t, want, mustDecode(t, after.value).Attrs)
		require.Empty(t, s.gaps())
		mustClose(t, r)
	})
}

func TestUpdate_WritesOverWhatAnOperatorWrote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 5}})
		s.put(testKey, "by hand", s.key(testKey).lease)
		require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 5}))
		require.EqualValues(t, 5, mustDecode(t, s.key(testKey).value).Weight)
	})
}

func TestUpdate_IsKeptWhileEtcdIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 1}})
		s.setFault(down(errRefused))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.Update(ctx, attrs.Attrs{Weight: 8})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "kept, but not written yet")
		require.ErrorContains(t, err, "connection refused")

		s.setFault(nil)
		pass(mostPause)
		require.EqualValues(t, 8, mustDecode(t, s.key(testKey).value).Weight)
		mustClose(t, r)
	})
}

func TestUpdate_LastOneWinsAndAnswersTheEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		s.setFault(down(errRefused))
		var answered atomic.Int32
		for weight := range uint32(3) {
			go func() {
				if r.Update(context.Background(), attrs.Attrs{Weight: 10 + weight}) == nil {
					answered.Add(1)
				}
			}()
			synctest.Wait()
		}
		require.Zero(t, answered.Load())
		s.setFault(nil)
		pass(mostPause)
		require.EqualValues(t, 3, answered.Load())
		require.EqualValues(t, 12, mustDecode(t, s.key(testKey).value).Weight)
		mustClose(t, r)
	})
}

func TestUpdate_ReturnsNotBeforeItsOwnValueStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		s.setFault(func(_ context.Context, call string) error {
			if call == "swap" {
				<-time.After(time.Second)
			}
			return nil
		})
		first := make(chan error)
		go func() { first <- r.Update(context.Background(), attrs.Attrs{Weight: 1}) }()
		synctest.Wait() // the first is being written
		require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 2}))
		require.EqualValues(t, 2, mustDecode(t, s.key(testKey).value).Weight)
		require.NoError(t, <-first)
	})
}

func TestUpdate_IsAnsweredUnderSteadyUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const write = 20 * time.Millisecond
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		s.setFault(func(_ context.Context, call string) error {
			if call == "swap" {
				<-time.After(write)
			}
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for weight := uint32(2); ctx.Err() == nil; weight++ {
				go func() { _ = r.Update(ctx, attrs.Attrs{Weight: weight}) }()
				<-time.After(write / 2)
			}
		}()
		pass(time.Second)
		short, end := context.WithTimeout(ctx, 3*write)
		defer end()
		require.NoError(t, r.Update(short, attrs.Attrs{Weight: 1}))
		cancel()
		pass(time.Second)
	})
}

func TestUpdate_BadAttrsChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		before := s.key(testKey)
		err := r.Update(t.Context(), attrs.Attrs{Labels: map[string]string{"zone": "eu"}})
		require.EqualError(t, err, `etcdregistry: payments/10.0.0.7:8080: label "zone" is reserved: set the field of attrs.Attrs instead`)
		pass(testTTL)
		require.Equal(t, before, s.key(testKey))
		mustClose(t, r)
	})
}
