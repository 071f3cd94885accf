package e2e

import (
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

var peaceFaults = []fault{
	{row: 1, name: "changes in peace", limit: inPeace, play: playPeace},
	{row: 8, name: "no endpoints, then one", limit: inPeace, play: playNobody},
	{row: 9, name: "bad values and duplicates", limit: inPeace, play: playBadValues},
}

func playPeace(s *scene) {
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	a, b, c := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.put(a, b)
	s.start([]string{etcd.Addr()}, a, b)
	s.put(c)
	s.reach(s.limit, a, b, c)
	s.remove(a)
	s.reach(s.limit, b, c)

	left := []*policyServer{b, c}
	accepted, closed := connections(left)
	discoverPut(s, s.etcd, b, 7)
	s.lists(s.limit, map[*policyServer]int{b: 7, c: 1})
	s.reach(s.limit, b, c)
	if s.under.asserted {
		acceptedAfter, closedAfter := connections(left)
		require.Equal(s, accepted, acceptedAfter, "a weight costs no connection")
		require.Equal(s, closed, closedAfter)
		require.EqualValues(s, 2, s.stats().Lists, "one of the instances and one of the overrides served all that")
	}
}

// pick_first passes on what the resolver says.
func playNobody(s *scene) {
	etcd := localetcd.Start(s)
	s.etcd, s.policy = etcd.Client(), stockPickFirst
	a := startPolicyServer(s)
	s.dial(s.connect(clientv3.Config{Endpoints: []string{etcd.Addr()}}))
	for range 2 { // never filled, and emptied
		s.within(s.limit, "calls fail", func() {
			failsWith(s.channel, codes.Unavailable,
				"etcd:///payments: no instances registered under payments/ in etcd at ["+etcd.Addr()+"]")
		})
		s.put(a)
		s.reach(s.limit, a)
		s.end()
		s.drain(a)
		s.remove(a)
	}
}

// failsWith returns when calls fail fast with that code and a text that contains text.
func failsWith(channel *heardChannel, code codes.Code, text string) {
	for channel.isOpen() {
		begun := time.Now()
		_, err := channel.call(callTimeout)
		if status.Code(err) == code && strings.Contains(err.Error(), text) && time.Since(begun) < time.Second {
			return
		}
		<-time.After(tick)
	}
}

func playBadValues(s *scene) {
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	a := startPolicyServer(s)
	discoverPut(s, s.etcd, a, 3)
	for id, value := range map[string]string{
		"empty":    "{}",
		"nonsense": "nonsense",
		"weight":   `{"Addr":"10.0.0.1:80","Metadata":{"weight":-1}}`,
		"large":    `{"Addr":"10.0.0.1:80","Metadata":{"x":"` + strings.Repeat("x", etcdregistry.MaxValueSize) + `"}}`,
		"deleted":  `{"Op":1,"Addr":"10.0.0.1:80"}`,
	} {
		discoverPutValue(s, s.etcd, etcdregistry.Key(discoverService, id), value)
	}
	twin := etcdregistry.Key(discoverService, "twin")
	discoverPutValue(s, s.etcd, twin, fmt.Sprintf(`{"Op":0,"Addr":%q}`, a.addr)) // the newer key of the address
	s.start([]string{etcd.Addr()}, a)
	s.lists(0, map[*policyServer]int{a: 1})
	s.logs(0, 5, "value refused")

	_, err := s.etcd.Delete(s.Context(), twin)
	require.NoError(s, err)
	s.lists(s.limit, map[*policyServer]int{a: 3})
	discoverPutValue(s, s.etcd, etcdregistry.Key(discoverService, a.addr), "{") // a good value overwritten
	s.logs(s.limit, 1, "last_good_kept=true")
	s.keeps(200*time.Millisecond, a)
	discoverPut(s, s.etcd, a, 4)
	s.lists(s.limit, map[*policyServer]int{a: 4})
	s.reach(s.limit, a)
	if s.under.asserted {
		require.EqualValues(s, 6, s.stats().Refused)
	}
}
