package etcdregistry

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

// filled returns an instance whose value is as large as can be, if by writes it.
func filled(t *testing.T, draining bool, by owner) Instance {
	t.Helper()
	inst := Instance{Addr: testAddr, Attrs: attrs.Attrs{Draining: draining, Labels: map[string]string{"notes": ""}}}
	value, err := encode(inst, by)
	require.NoError(t, err)
	inst.Labels["notes"] = strings.Repeat("x", MaxValueSize-len(value))
	_, err = encode(inst, by)
	require.NoError(t, err)
	return inst
}

// What is taken can be written whatever the drain mark, and under its owner.
func TestWish_LeavesRoomForTheMarkAndTheOwner(t *testing.T) {
	by := newOwner(time.Now())
	w, _, err := newWish(desire{inst: filled(t, false, by), owner: by}, func() {})
	require.NoError(t, err)
	for _, large := range []Instance{filled(t, true, by), filled(t, false, owner{})} {
		_, _, err := newWish(desire{inst: large, owner: by}, func() {})
		require.ErrorContains(t, err, "want at most 65536")
		_, err = w.update(large)
		require.ErrorContains(t, err, "want at most 65536")
	}
}

func TestWish_NothingChangesWhatLeaves(t *testing.T) {
	w, _, err := newWish(desire{inst: Instance{Addr: testAddr}}, func() {})
	require.NoError(t, err)
	w.leave()
	_, version := w.get()
	require.False(t, w.setSick(true))
	_, err = w.update(Instance{Addr: testAddr})
	require.ErrorIs(t, err, errClosed)
	_, after := w.get()
	require.Equal(t, version, after)
}

func TestUpdate_BesideAndAfterCloseSaysThatItIsClosed(t *testing.T) {
	for name, outage := range map[string]bool{"in peace": false, "while the lease is lost": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s fakeStore
				r := mustRegister(t, &s, Instance{})
				update := func() error {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					return r.Update(ctx, attrs.Attrs{Weight: 2})
				}
				if outage {
					s.setFault(down(errRefused))
					pass(2 * testTTL)
					waiting := make(chan error, 1)
					go func() { waiting <- update() }()
					synctest.Wait()
					defer func() { require.ErrorIs(t, <-waiting, errClosed) }()
				}
				_ = r.Close(t.Context()) // which fails in the outage
				require.ErrorIs(t, update(), errClosed)
			})
		})
	}
}
