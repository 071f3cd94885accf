package etcdregistry

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/steelyard-go/steelyard/attrs"
)

const otherAddr = "10.0.0.7:1"

// The watch tells of it while the look is still under way, which read the key before.
func TestShared_KeyDeletedDuringALookIsPutBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bent{fakeStore: &fakeStore{}}
		mustJoin(t, mustRegistrar(t, b), testAddr)
		synctest.Wait()
		deleted := make(chan struct{})
		b.bendRead(testKey, func(ctx context.Context, do func(context.Context) error) error {
			b.bendRead(testKey, nil) // once
			err := do(ctx)
			b.delete(testKey)
			<-time.After(time.Millisecond) // the loop hears of it
			close(deleted)
			return err
		})
		<-deleted
		synctest.Wait()
		require.NotZero(t, b.key(testKey).lease)
	})
}

// Etcd answers, be it with a no.
func TestShared_RefusedOrContendedKeyPausesNoOther(t *testing.T) {
	for _, answer := range []error{rpctypes.ErrPermissionDenied, nil} { // nil: but somebody was faster
		synctest.Test(t, func(t *testing.T) {
			b := &bent{fakeStore: &fakeStore{}}
			g := mustRegistrar(t, b)
			bad, other := mustJoin(t, g, testAddr), mustJoin(t, g, otherAddr)
			b.bendSwap(testKey, func(context.Context, func(context.Context) error) error { return answer })
			for weight := range uint32(10) {
				bad.key.wish.change(func(d *desire) { d.inst.Weight = 2 + weight })
				synctest.Wait()
				begin := time.Now()
				require.NoError(t, other.Update(t.Context(), attrs.Attrs{Weight: 2 + weight}))
				require.Zero(t, time.Since(begin))
				pass(time.Second)
			}
			b.bendSwap(testKey, nil)
		})
	}
}

func TestShared_CallsThatFailTogetherAreOneFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		var all []*Registration
		for i := range lookWidth {
			all = append(all, mustJoin(t, g, fmt.Sprintf("10.0.0.7:%d", 1+i)))
		}
		s.setFault(failing(errRefused, "swap"))
		for _, r := range all {
			r.key.wish.change(func(d *desire) { d.inst.Weight = 3 })
		}
		synctest.Wait()
		s.setFault(nil)
		pass(2 * leastPause)
		require.Equal(t, 2*lookWidth, g.Stats().Puts)
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
			case <-time.After(leastLookLimit * 6 / 5):
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
			for _, r := range others { // these are written meanwhile
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
