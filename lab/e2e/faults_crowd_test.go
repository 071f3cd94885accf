package e2e

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

var crowdFaults = []fault{
	{row: 22, name: "1,000 puts in a burst at 5,000 endpoints", limit: 2 * time.Second, alone: true, play: playBurst},
	{row: 23, name: "20,000 endpoints", limit: 5 * time.Second, alone: true, play: playLargeList},
	{row: 30, name: "1,000 channels opened and closed", limit: afterTrouble, alone: true, play: playManyChannels},
}

// extra is one of a crowd of instances that are nowhere. They come after the real
// servers, so that pick_first finds those.
func extra(i int, weight uint32) (id string, inst etcdregistry.Instance) {
	addr := fmt.Sprintf("127.0.%d.%d:9", 1+i/250, i%250)
	// The label makes 20,000 of them more than 4 MiB, gRPC's limit.
	labels := map[string]string{"version": strings.Repeat("1", 200)}
	return addr, etcdregistry.Instance{Addr: addr, Attrs: attrs.Attrs{Weight: weight, Labels: labels}}
}

func playBurst(s *scene) {
	const crowd, burst, writers = 5000, 1000, 20
	etcd := localetcd.Start(s)
	s.etcd, s.policy = etcd.Client(), stockPickFirst
	a := startPolicyServer(s)
	s.put(a)
	s.putMany(crowd, func(i int) (string, etcdregistry.Instance) { return extra(i, 1) })
	s.start([]string{etcd.Addr()}, a)

	before, begun := len(s.heard.sizes()), time.Now()
	var writing sync.WaitGroup
	for first := range writers {
		writing.Go(func() {
			for i := first; i < burst; i += writers {
				id, inst := extra(i, 2)
				value, err := etcdregistry.Encode(inst)
				require.NoError(s, err)
				discoverPutValue(s, s.etcd, etcdregistry.Key(discoverService, id), value)
			}
		})
	}
	writing.Wait()
	s.within(s.limit, "the last put heard", func() { s.awaitWeights(2, burst) })
	took := time.Since(begun)
	updates := len(s.heard.sizes()) - before
	s.Logf("%s: %d UpdateState in %v", s.under.name, updates, took)
	if s.under.asserted {
		require.LessOrEqual(s, updates, 10*(1+int(took/time.Second)))
		require.Equal(s, crowd+1, len(s.heard.list()))
	}
}

// awaitWeights returns when n endpoints have that weight.
func (s *scene) awaitWeights(weight uint32, n int) {
	for s.channel.isOpen() && s.under.asserted {
		have := 0
		for _, e := range s.heard.state().Endpoints {
			if attrs.FromEndpoint(e).Weight == weight {
				have++
			}
		}
		if have == n {
			return
		}
		<-time.After(tick)
	}
}

func playLargeList(s *scene) {
	const crowd = 20_000
	etcd := localetcd.Start(s)
	s.etcd, s.policy = etcd.Client(), stockPickFirst
	a := startPolicyServer(s)
	s.put(a)
	s.putMany(crowd, func(i int) (string, etcdregistry.Instance) { return extra(i, 1) })
	s.dial(s.connect(clientv3.Config{Endpoints: []string{etcd.Addr()}, MaxCallRecvMsgSize: 4 << 20}))
	s.reach(s.limit, a)
	if s.under.asserted {
		require.Equal(s, []int{crowd + 1}, s.heard.sizes(), "one update, no part of it before")
	}
	s.put(a)
	s.keeps(time.Second, a)
}

func playManyChannels(s *scene) {
	const channels, services, atATime = 1000, 10, 20
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	a, b, c := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.put(a, b)
	for i := range services {
		discoverPutValue(s, s.etcd, churnKey(i, a), churnValue(a))
	}
	s.start([]string{etcd.Addr()}, a, b)
	goroutines := runtime.NumGoroutine()

	var opened, failed atomic.Int64
	var opening, churning sync.WaitGroup
	over := make(chan struct{})
	churning.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
				discoverPutValue(s, s.etcd, churnKey(i%services, b), churnValue(b))
				_, err := s.etcd.Delete(s.Context(), churnKey((i+services/2)%services, b))
				require.NoError(s, err)
			}
		}
	})
	for range atATime {
		opening.Go(func() {
			for n := opened.Add(1); n <= channels; n = opened.Add(1) {
				conn, err := newHeardConn(s.heard, churnService(int(n)%services), stockRoundRobin)
				require.NoError(s, err)
				if n%4 != 0 { // the others are closed before they have a list
					if _, err := (&heardChannel{conn}).call(callTimeout, grpc.WaitForReady(true)); err != nil {
						failed.Add(1)
					}
				} else {
					conn.Connect()
				}
				_ = conn.Close()
			}
		})
	}
	opening.Wait()
	close(over)
	churning.Wait()
	s.put(c)
	s.reach(s.limit, a, b, c)
	s.within(s.limit, "no goroutine left behind", func() {
		for runtime.NumGoroutine() > goroutines+goroutines/10 && s.channel.isOpen() {
			<-time.After(tick)
		}
	})
	if s.under.asserted {
		require.Zero(s, failed.Load())
	}
}

func churnService(i int) string { return fmt.Sprintf("churn-%d", i) }

func churnKey(i int, server *policyServer) string {
	return etcdregistry.Key(churnService(i), server.addr)
}

func churnValue(server *policyServer) string { return fmt.Sprintf(`{"Op":0,"Addr":%q}`, server.addr) }
