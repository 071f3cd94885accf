package etcdregistry

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

// hung is a bend that lets a call wait for the end of its context.
func hung(ctx context.Context, _ func(context.Context) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// hangAudit lets the next look at testKey hang, and returns once it does.
func hangAudit(b *bent) {
	began := make(chan struct{})
	b.bendRead(testKey, func(ctx context.Context, do func(context.Context) error) error {
		b.bendRead(testKey, nil) // once
		close(began)
		return hung(ctx, do)
	})
	<-began
}

// stands returns how long it takes until the key stands.
func stands(b *bent) time.Duration {
	begin := time.Now()
	for b.key(testKey).lease == 0 {
		pass(10 * time.Millisecond)
	}
	return time.Since(begin)
}

func TestHung_KeysDoNotHoldTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bent{fakeStore: &fakeStore{}}
		g := mustRegistrar(t, b, WithTTL(20*time.Second))
		other := mustJoin(t, g, otherAddr)
		for i := range lookWidth - 1 {
			r := mustJoin(t, g, fmt.Sprintf("10.0.0.8:%d", 1+i))
			b.bendRead(r.key.name, hung)
			go func() { _ = r.Update(t.Context(), attrs.Attrs{Weight: 2}) }()
		}
		synctest.Wait()
		for weight := range uint32(100) {
			begin := time.Now()
			require.NoError(t, other.Update(t.Context(), attrs.Attrs{Weight: 3 + weight}))
			require.LessOrEqual(t, time.Since(begin), leastPause) // that of an outage, until something answers
			<-time.After(100 * time.Millisecond)
		}
		begin := time.Now()
		mustClose(t, other)
		require.LessOrEqual(t, time.Since(begin), defaultDrainDelay+2*leastPause)
	})
}

// Nobody waits for an audit: it may take long, but it holds nobody.
func TestHung_AuditsDoNotHoldTheOthers(t *testing.T) {
	for _, many := range []int{lookWidth, 20 * lookWidth} {
		synctest.Test(t, func(t *testing.T) {
			b := &bent{fakeStore: &fakeStore{}}
			g := mustRegistrar(t, b, WithTTL(20*time.Second))
			other := mustJoin(t, g, otherAddr)
			var names []string
			for i := range many {
				names = append(names, mustJoin(t, g, fmt.Sprintf("10.0.0.8:%d", 1+i)).key.name)
			}
			synctest.Wait()
			for _, name := range names {
				b.bendRead(name, hung)
			}
			pass(15 * time.Second) // they are audited
			begin := time.Now()
			require.NoError(t, other.Update(t.Context(), attrs.Attrs{Weight: 3}))
			require.LessOrEqual(t, time.Since(begin), 2*leastPause)
			for _, name := range names {
				b.bendRead(name, nil)
			}
		})
	}
}

// One of three members hangs, and each call goes to the next one.
func TestHung_MemberDoesNotHoldAClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s, WithTTL(20*time.Second))
		var all []*Registration
		for i := range 200 {
			all = append(all, mustJoin(t, g, fmt.Sprintf("10.0.0.7:%d", 1+i)))
		}
		synctest.Wait()
		var asked atomic.Int32
		s.setFault(func(ctx context.Context, call string) error {
			if (call == "holder" || call == "swap") && asked.Add(1)%3 == 0 {
				return hanging(ctx, call)
			}
			return nil
		})
		for before := s.count("holder"); s.count("holder") == before; { // the audits begin
			pass(10 * time.Millisecond)
		}
		mustClose(t, all[77])
		s.setFault(nil)
	})
}

// behindHungAudits lets audits hang for which most others have to wait, those of testKey
// among them more often than not.
func behindHungAudits(t *testing.T, then func(t *testing.T, b *bent, g *Registrar, r *Registration)) {
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			b := &bent{fakeStore: &fakeStore{}}
			g := mustRegistrar(t, b, WithTTL(20*time.Second))
			r := mustJoin(t, g, testAddr)
			var names []string
			for i := range 3 * auditWidth {
				names = append(names, mustJoin(t, g, fmt.Sprintf("10.0.0.8:%d", 1+i)).key.name)
			}
			synctest.Wait()
			for _, name := range names {
				b.bendRead(name, hung)
			}
			pass(10 * time.Second)
			then(t, b, g, r)
			for _, name := range names {
				b.bendRead(name, nil)
			}
		})
	}
}

func TestHung_KeyThatWaitsForItsAuditIsLookedAtByOneWorker(t *testing.T) {
	behindHungAudits(t, func(t *testing.T, b *bent, _ *Registrar, r *Registration) {
		var looking atomic.Int32
		b.bendRead(testKey, func(ctx context.Context, do func(context.Context) error) error {
			if looking.Add(1) > 1 {
				t.Error("two workers look at a key")
			}
			defer looking.Add(-1)
			<-time.After(leastPause)
			return do(ctx)
		})
		for begin := time.Now(); time.Since(begin) < 20*time.Second; {
			require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 3}))
		}
	})
}

func TestHung_KeyThatWaitsForItsAuditIsForgottenOnceItIsGone(t *testing.T) {
	behindHungAudits(t, func(t *testing.T, b *bent, g *Registrar, r *Registration) {
		mustClose(t, r)
		r = mustJoin(t, g, testAddr)
		pass(20 * time.Second)
		require.NotZero(t, b.key(testKey).lease)
		require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 3}))
	})
}

func TestHung_AuditDoesNotHoldAnUpdateOfTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bent{fakeStore: &fakeStore{}}
		r := mustJoin(t, mustRegistrar(t, b, WithTTL(20*time.Second)), testAddr)
		hangAudit(b)
		begin := time.Now()
		require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 2}))
		require.LessOrEqual(t, time.Since(begin), leastLookLimit+leastPause)
		require.Equal(t, errHurried.Error(), r.key.wish.lastTrouble())
	})
}

func TestHung_AuditDoesNotHoldTheRepairOfTheKey(t *testing.T) {
	losses := map[string]func(*bent){
		"deleted by hand": func(b *bent) { b.delete(testKey) },
		"lease revoked":   func(b *bent) { b.endLease(b.key(testKey).lease) },
		"keep-alive ended, lease gone": func(b *bent) {
			lost := b.key(testKey).lease
			b.silence(lost)
			b.endLease(lost)
		},
	}
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bent{fakeStore: &fakeStore{raiseTTL: 20 * time.Second}}
				mustJoin(t, mustRegistrar(t, b, WithTTL(20*time.Second)), testAddr)
				synctest.Wait()
				hangAudit(b)
				lose(b)
				require.LessOrEqual(t, stands(b), spreadPause+leastLookLimit+2*leastPause)
			})
		})
	}
}

func TestHung_AuditDoesNotHoldTheRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fakeStore{raiseTTL: 20 * time.Second}
		mustRegister(t, &s, Instance{}, WithTTL(20*time.Second))
		synctest.Wait()
		s.setFault(func(ctx context.Context, call string) error {
			if call == "renew" || call == "holder" {
				return hanging(ctx, call)
			}
			return nil
		})
		pass(10*time.Second + leastPause)
		require.Positive(t, s.count("renewOnce"), "the lease is silent")
		s.setFault(nil)
	})
}

func TestHung_RenewalDoesNotHoldTheNextLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bent{fakeStore: &fakeStore{raiseTTL: 20 * time.Second}}
		mustJoin(t, mustRegistrar(t, b, WithTTL(20*time.Second)), testAddr)
		synctest.Wait()
		lease := b.key(testKey).lease
		b.setFault(func(ctx context.Context, call string) error {
			if call == "renew" || call == "renewOnce" {
				return hanging(ctx, call)
			}
			return nil
		})
		for b.count("renewOnce") < 3 { // this one has time
			pass(10 * time.Millisecond)
		}
		b.silence(lease)
		b.endLease(lease)
		require.LessOrEqual(t, stands(b), spreadPause+leastPause)
		b.setFault(nil)
	})
}
