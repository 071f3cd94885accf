package etcdregistry

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
)

func TestRegister_RefusesBadArguments(t *testing.T) {
	good := Instance{Addr: testAddr}
	cases := []struct {
		name    string
		service string
		inst    Instance
		option  Option
		want    string
	}{
		{"no service", "", good, nil, `etcdregistry: the service is empty, want a name such as "payments"`},
		{"slash after the service", "payments/", good, nil, `service "payments/": want a name that does not end with a slash`},
		{"slash in the id", "payments", Instance{ID: "eu/1", Addr: testAddr}, nil, `id "eu/1": want one without a slash`},
		{"no address", "payments", Instance{}, nil, "the address is empty, want host:port"},
		{"no port", "payments", Instance{Addr: "10.0.0.7"}, nil, `address "10.0.0.7" is not host:port`},
		{"port 0", "payments", Instance{Addr: "10.0.0.7:0"}, nil, `port: got "0", want a number from 1 to 65535`},
		{"all hosts", "payments", Instance{Addr: "[::]:8080"}, nil, "others cannot reach the unspecified host ::: see AdvertiseAddr"},
		{"heavy", "payments", Instance{Addr: testAddr, Attrs: attrs.Attrs{Weight: attrs.MaxWeight + 1}}, nil, "weight: got 1000001, want at most 1000000"},
		{"short TTL", "payments", good, WithTTL(time.Second), "TTL: got 1s, want whole seconds from 2s to 1h0m0s"},
		{"long TTL", "payments", good, WithTTL(time.Hour + time.Second), "TTL: got 1h0m1s, want"},
		{"TTL with a fraction", "payments", good, WithTTL(2500 * time.Millisecond), "TTL: got 2.5s, want whole seconds"},
		{"negative drain delay", "payments", good, WithDrainDelay(-1), "drain delay: got -1ns, want 0s to 2s"},
		{"long drain delay", "payments", good, WithDrainDelay(2*time.Second + 1), "drain delay: got 2.000000001s, want 0s to 2s"},
		{"nil logger", "payments", good, WithLogger(nil), "the logger is nil"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var opts []Option
			if c.option != nil {
				opts = append(opts, c.option)
			}
			var s fakeStore
			r, err := register(t.Context(), &s, c.service, c.inst, opts)
			require.ErrorContains(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), "etcdregistry: "), err.Error())
			require.Nil(t, r)
			require.Empty(t, s.calls, "etcd was asked")
		})
	}
}

func TestRegister_RefusesNilClient(t *testing.T) {
	_, err := Register(t.Context(), nil, testService, Instance{Addr: testAddr})
	require.EqualError(t, err, "etcdregistry: the etcd client is nil")
}

func TestRegister_IDNamesTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{ID: "eu-7"})
		require.Equal(t, testAddr, mustDecode(t, s.key("payments/eu-7").value).Addr)
		mustClose(t, r)
	})
}

func TestRegister_WaitsForEtcd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		grants := 0
		s.setFault(func(_ context.Context, call string) error {
			if call == "grant" {
				if grants++; grants <= 5 {
					return errRefused
				}
			}
			return nil
		})
		begin := time.Now()
		r := mustRegister(t, &s, Instance{})
		require.NotZero(t, s.key(testKey).lease)
		require.Equal(t, 6, grants)
		require.LessOrEqual(t, time.Since(begin), 3100*time.Millisecond, "100 ms, doubled four times")
		mustClose(t, r)
	})
}

func TestRegister_EndsWithItsContextAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		s.setFault(down(errRefused))
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		begin := time.Now()
		r, err := register(ctx, &s, testService, Instance{Addr: testAddr}, quiet())
		require.Nil(t, r)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "etcdregistry: payments/10.0.0.7:8080: not registered: "+
			"context deadline exceeded; last error: grant a lease: connection refused")
		require.Equal(t, 4*time.Second, time.Since(begin))
	})
}

func TestRegister_RefusedByEtcdReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		s.setFault(failing(rpctypes.ErrPermissionDenied, "swap"))
		begin := time.Now()
		_, err := register(t.Context(), &s, testService, Instance{Addr: testAddr}, quiet())
		require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
		require.ErrorContains(t, err, "etcdregistry: payments/10.0.0.7:8080: put the key: ")
		require.Zero(t, time.Since(begin))
		require.Zero(t, s.leaseCount(), "the lease is left as a ghost")
	})
}

func TestRegister_RefusedLeaseReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		s.setFault(failing(rpctypes.ErrAuthFailed, "grant"))
		begin := time.Now()
		_, err := register(t.Context(), &s, testService, Instance{Addr: testAddr}, quiet())
		require.ErrorIs(t, err, rpctypes.ErrAuthFailed)
		require.Zero(t, time.Since(begin))
	})
}

func TestRegister_LaterLifeIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(t.Context()))
		r, err := register(ctx, &s, testService, Instance{Addr: testAddr}, quiet())
		require.NoError(t, err)
		cancel()
		pass(10 * testTTL)
		require.Equal(t, 1, s.count("grant"))
		require.NotZero(t, s.key(testKey).lease)
		mustClose(t, r)
	})
}

func TestOptions_Defaults(t *testing.T) {
	o, err := newOptions(nil)
	require.NoError(t, err)
	require.Equal(t, options{ttl: 20 * time.Second, drainDelay: 500 * time.Millisecond, logger: slog.Default()}, o)
}

func TestOptions_TakeTheirBounds(t *testing.T) {
	for _, c := range []struct{ ttl, drainDelay time.Duration }{{2 * time.Second, 0}, {time.Hour, 2 * time.Second}} {
		o, err := newOptions([]Option{WithTTL(c.ttl), WithDrainDelay(c.drainDelay)})
		require.NoError(t, err)
		require.Equal(t, c.ttl, o.ttl)
		require.Equal(t, c.drainDelay, o.drainDelay)
	}
}

func TestUpdate_RefusedByEtcdReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		s.setFault(failing(rpctypes.ErrPermissionDenied, "swap"))
		begin := time.Now()
		require.ErrorIs(t, r.Update(t.Context(), attrs.Attrs{Weight: 2}), rpctypes.ErrPermissionDenied)
		require.Zero(t, time.Since(begin))
	})
}
