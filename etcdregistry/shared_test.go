package etcdregistry

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

const otherAddr = "10.0.0.7:1"

func TestShared_HungKeyDoesNotHoldTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bent{fakeStore: &fakeStore{}}
		g := mustRegistrar(t, b, WithTTL(20*time.Second))
		hung, other := mustJoin(t, g, testAddr), mustJoin(t, g, otherAddr)
		b.bendRead(testKey, func(ctx context.Context, _ func(context.Context) error) error {
			<-ctx.Done()
			return ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = hung.Update(ctx, attrs.Attrs{Weight: 2}) }()
		synctest.Wait()
		begin := time.Now()
		require.NoError(t, other.Update(t.Context(), attrs.Attrs{Weight: 3}))
		require.LessOrEqual(t, time.Since(begin), attemptLimit+leastAttemptLimit) // seldom the hung key is in the next attempt too
		pass(20 * time.Second)
		mustClose(t, other)
		b.bendRead(testKey, nil)
	})
}

// Each call takes longer than the loop has patience with while others wait.
func TestShared_SlowEtcdIsWaitedForAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s, WithTTL(20*time.Second))
		r, other := mustJoin(t, g, testAddr), mustJoin(t, g, otherAddr)
		s.setFault(func(ctx context.Context, call string) error {
			if call != "holder" && call != "swap" {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(leastAttemptLimit * 6 / 5):
				return nil
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		go func() {
			for weight := uint32(2); ctx.Err() == nil; weight++ {
				go func() { _ = other.Update(ctx, attrs.Attrs{Weight: weight}) }()
				<-time.After(100 * time.Millisecond)
			}
		}()
		require.NoError(t, r.Update(ctx, attrs.Attrs{Weight: 2}))
		cancel()
		synctest.Wait()
	})
}

func TestShared_ContendedKeyIsNoTroubleOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 200
		b := &bent{fakeStore: &fakeStore{}}
		g := mustRegistrar(t, b)
		var others []*Registration
		for i := range many {
			r := mustJoin(t, g, fmt.Sprintf("10.0.0.7:%d", 1+i))
			b.bendSwap(r.key.name, func(ctx context.Context, do func(context.Context) error) error {
				<-time.After(time.Millisecond)
				return do(ctx)
			})
			others = append(others, r)
		}
		contended := mustJoin(t, g, testAddr)
		synctest.Wait()
		b.bendSwap(testKey, func(context.Context, func(context.Context) error) error {
			return nil // but somebody was faster
		})
		heavier := func(d *desire) { d.inst.Weight = 3 }
		contended.key.wish.change(heavier)
		for _, r := range others {
			r.key.wish.change(heavier)
		}
		pass(time.Second)
		require.NotEqual(t, "none", contended.key.wish.lastTrouble())
		for _, r := range others {
			require.Equal(t, "none", r.key.wish.lastTrouble())
			require.EqualValues(t, 3, mustDecode(t, b.key(r.key.name).value).Weight)
		}
		b.bendSwap(testKey, nil)
	})
}

// A member hangs with a put, and does it when it is resumed: after the key has been given
// up. The lease is replaced, or it would hold that key for ever, but no other key goes.
func TestShared_LatePutOfAGoneKeyDoesNotStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bent{fakeStore: &fakeStore{}}
		g := mustRegistrar(t, b)
		var others []*Registration
		for i := range 20 {
			others = append(others, mustJoin(t, g, fmt.Sprintf("10.0.0.7:%d", 1+i)))
		}
		b.bendSwap(testKey, func(ctx context.Context, do func(context.Context) error) error {
			b.bendSwap(testKey, nil) // once
			go func() {
				<-time.After(5 * time.Second)
				_ = do(context.Background())
			}()
			<-ctx.Done()
			return ctx.Err()
		})
		time.AfterFunc(1100*time.Millisecond, func() {
			for _, r := range others { // the attempt that gives the key up has these as well
				r.key.wish.change(func(d *desire) { d.inst.Weight = 3 })
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.Register(ctx, testService, Instance{Addr: testAddr})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		pass(time.Hour)
		require.Zero(t, b.key(testKey))
		require.Equal(t, 1, b.leaseCount())
		for _, gap := range b.gaps() {
			require.True(t, strings.HasPrefix(gap, testKey+" "), gap)
		}
	})
}
