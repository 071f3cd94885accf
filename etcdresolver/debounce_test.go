package etcdresolver

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// debounced plays a change after each of the pauses and returns when they were made
// and when the debounce fired.
func debounced(pauses []time.Duration) (changes, fired []time.Time) {
	var mu sync.Mutex
	var d *debounce
	d = newDebounce(defaultDebounce, func() {
		mu.Lock()
		defer mu.Unlock()
		d.clear()
		fired = append(fired, time.Now())
	})
	for _, pause := range pauses {
		<-time.After(pause)
		mu.Lock()
		changes = append(changes, time.Now())
		d.add()
		mu.Unlock()
	}
	pass(debounceLimit * defaultDebounce)
	mu.Lock()
	defer mu.Unlock()
	return changes, fired
}

func TestDebounce_BoundsUpdatesAndDelayAtEveryPace(t *testing.T) {
	for pace := time.Millisecond; pace < time.Second; pace = pace * 5 / 4 {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(7, uint64(pace)))
			pauses := make([]time.Duration, 400)
			for i := range pauses {
				pauses[i] = time.Duration(random.ExpFloat64() * float64(pace))
			}
			changes, fired := debounced(pauses)
			next := 0
			for _, change := range changes {
				for fired[next].Before(change) {
					next++
				}
				require.LessOrEqual(t, fired[next].Sub(change), debounceLimit*defaultDebounce, "pace %v", pace)
			}
			for i := 10; i < len(fired); i++ {
				require.GreaterOrEqual(t, fired[i].Sub(fired[i-10]), time.Second, "eleven in a second, pace %v", pace)
			}
		})
	}
}

func TestDebounce_AChangeInPeaceWaitsForTheWindowOnly(t *testing.T) {
	for name, pauses := range map[string][]time.Duration{
		"alone":              {time.Second},
		"three in a row":     {time.Second, 30 * time.Millisecond, 30 * time.Millisecond},
		"seven in a second":  {0, 140 * time.Millisecond, 140 * time.Millisecond, 140 * time.Millisecond, 140 * time.Millisecond, 140 * time.Millisecond},
		"again after a rest": {0, 21 * time.Millisecond, 21 * time.Millisecond, 500 * time.Millisecond, 21 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			changes, fired := debounced(pauses)
			require.Len(t, fired, len(changes), name)
			for i := range changes {
				require.Equal(t, defaultDebounce, fired[i].Sub(changes[i]), name)
			}
		})
	}
}
