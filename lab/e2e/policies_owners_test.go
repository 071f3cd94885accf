package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/lab/internal/child"
)

// ownersChild is a client in a process of its own: it tells who owns the keys.
const ownersChild = "owners"

// runIfOwners becomes that client if this process was started as one.
func runIfOwners() {
	child.RunIf(ownersChild, func(ctx context.Context, env *child.Env) error {
		var list []keyOwner
		if err := json.Unmarshal(env.Config, &list); err != nil {
			return err
		}
		owners, err := ownersOf(ctx, list)
		if err != nil {
			return err
		}
		encoded, err := json.Marshal(owners)
		if err != nil {
			return err
		}
		env.Ready(string(encoded))
		<-ctx.Done()
		return nil
	})
}

// keyOwner is a backend that keys are mapped to.
type keyOwner struct {
	Addr   string
	Weight uint32
}

// The golden set of package consistenthash, with weights. There the owners were
// computed by another program.
var (
	keyOwners = []keyOwner{
		{"10.0.0.1:8080", 1},
		{"10.0.0.2:8080", 2},
		{"[2001:db8::1]:443", 3},
		{"cache-a.example.com:80", 5},
		{"unix:/run/cache.sock", 4},
	}
	goldenOwners = map[string]string{
		"":                                     "unix:/run/cache.sock",
		"a":                                    "cache-a.example.com:80",
		"b":                                    "10.0.0.2:8080",
		"user-1":                               "unix:/run/cache.sock",
		"user-2":                               "10.0.0.1:8080",
		"user-3":                               "unix:/run/cache.sock",
		"user-4":                               "[2001:db8::1]:443",
		"alice":                                "10.0.0.2:8080",
		"bob":                                  "[2001:db8::1]:443",
		"a,b":                                  "cache-a.example.com:80",
		"A":                                    "unix:/run/cache.sock",
		"ü":                                    "cache-a.example.com:80",
		"日本":                                   "cache-a.example.com:80",
		"\x00":                                 "unix:/run/cache.sock",
		"192.0.2.1":                            "unix:/run/cache.sock",
		"550e8400-e29b-41d4-a716-446655440000": "[2001:db8::1]:443",
		"session/7f3a":                         "unix:/run/cache.sock",
		"key with spaces":                      "cache-a.example.com:80",
		"0":                                    "unix:/run/cache.sock",
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": "[2001:db8::1]:443",
	}
)

// ownedKeys are those of the golden set and some more.
func ownedKeys() []string {
	keys := make([]string, 0, 500)
	for key := range goldenOwners {
		keys = append(keys, key)
	}
	for i := len(keys); i < cap(keys); i++ {
		keys = append(keys, "key-"+strconv.Itoa(i))
	}
	return keys
}

// ownersOf makes real calls to servers that stand at the addresses of the list,
// as the client's dialer has it, and returns who answered for which key.
func ownersOf(ctx context.Context, list []keyOwner) (map[string]string, error) {
	endpoints, listeners := make([]resolver.Endpoint, len(list)), make(map[string]*bufconn.Listener)
	for i, owner := range list {
		endpoints[i] = attrs.Set(
			resolver.Endpoint{Addresses: []resolver.Address{{Addr: owner.Addr}}}, attrs.Attrs{Weight: owner.Weight})
		l, server := bufconn.Listen(1<<16), grpc.NewServer()
		server.RegisterService(&policyServiceDesc, &policyServer{addr: owner.Addr})
		go func() { _ = server.Serve(l) }() // Stop is how it ends, and waits for it
		defer server.Stop()
		listeners[owner.Addr] = l
	}
	r := manual.NewBuilderWithScheme("manual")
	r.InitialState(resolver.State{Endpoints: endpoints})
	conn, err := grpc.NewClient(r.Scheme()+":///owners", grpc.WithResolvers(r),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(consistenthash.Config{}.ServiceConfig()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			l, known := listeners[addr]
			if !known {
				return nil, fmt.Errorf("nobody at %q", addr)
			}
			return l.DialContext(ctx)
		}))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return settledOwners(ctx, conn, len(list))
}

// settledOwners calls until all have answered: before that, keys of those that
// are not connected yet are with others.
func settledOwners(ctx context.Context, conn *grpc.ClientConn, owners int) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for answered := make(map[string]bool); ; {
		complete := len(answered) == owners
		found := make(map[string]string)
		for _, key := range ownedKeys() {
			var reply wrapperspb.StringValue
			if err := conn.Invoke(consistenthash.WithKey(ctx, key), whoMethod, new(emptypb.Empty), &reply); err != nil {
				return nil, fmt.Errorf("%d of %d have answered: %w", len(answered), owners, err)
			}
			found[key] = reply.GetValue()
			answered[reply.GetValue()] = true
		}
		if complete {
			return found, nil
		}
	}
}

func TestPolicies_ProcessesAgreeOnTheOwnersOfKeys(t *testing.T) {
	here, err := ownersOf(t.Context(), keyOwners)
	require.NoError(t, err)

	otherOrder := slices.Clone(keyOwners)
	slices.Reverse(otherOrder)
	ctx, cancel := context.WithTimeout(t.Context(), 2*waitLimit)
	defer cancel()
	process, err := child.Start(ctx, ownersChild, otherOrder)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, process.Stop(5*time.Second)) })
	var there map[string]string
	require.NoError(t, json.Unmarshal([]byte(process.Note()), &there))

	require.Len(t, there, len(ownedKeys()))
	require.Equal(t, here, there)
	for key, owner := range goldenOwners {
		require.Equalf(t, owner, here[key], "owner of %q", key)
	}
}
