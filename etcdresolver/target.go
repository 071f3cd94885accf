package etcdresolver

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/resolver"
)

var errNilClient = errors.New("the etcd client is nil: give NewBuilder the client to use")

// NewTargetBuilder returns a Builder that takes etcd's endpoints from the target,
//
//	etcd://10.0.0.1:2379,10.0.0.2:2379/payments
//
// and all else, such as TLS and the user, from config. A target without any,
// etcd:///payments, means the Endpoints of config. Channels whose targets name the
// same endpoints, in whatever order, share one client; it is made with the first of
// them and closed with the last. A target can name one IPv6 address, for lack of a URL
// with more: several belong into Endpoints.
//
// Where config leaves them 0, DialKeepAliveTime is 10 s, DialKeepAliveTimeout 3 s
// and DialTimeout 5 s: without keep-alive, a connection cut without a word would go
// unnoticed. Set config.Logger too: without one, etcd's client writes its own lines to
// stderr. config.Context is not used.
func NewTargetBuilder(config clientv3.Config, opts ...Option) *Builder {
	config.DialKeepAliveTime = cmp.Or(config.DialKeepAliveTime, dialKeepAliveTime)
	config.DialKeepAliveTimeout = cmp.Or(config.DialKeepAliveTimeout, dialKeepAliveTimeout)
	config.DialTimeout = cmp.Or(config.DialTimeout, dialTimeout)
	var mu sync.Mutex
	etcds := make(map[string]source)
	b := newBuilder(nil, opts)
	b.source = func(target resolver.Target) (string, source, error) {
		endpoints, err := endpointsOf(target, config.Endpoints)
		if err != nil {
			return "", nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		key := strings.Join(endpoints, ",")
		if etcds[key] == nil {
			config := config
			config.Endpoints = endpoints
			etcds[key] = &dialled{config: config}
		}
		return key, etcds[key], nil
	}
	return b
}

// endpointsOf returns etcd's endpoints, sorted.
func endpointsOf(target resolver.Target, otherwise []string) ([]string, error) {
	const want = "want etcd://host:port,host:port/service"
	u := target.URL
	switch {
	case u.User != nil:
		return nil, errors.New("a user does not belong into a target: set Username and Password of the clientv3.Config")
	case u.Host == "" && len(otherwise) == 0:
		return nil, fmt.Errorf("it names no etcd, and neither does the clientv3.Config: %s", want)
	case u.Host == "":
		return slices.Sorted(slices.Values(otherwise)), nil
	}
	endpoints := strings.Split(u.Host, ",")
	for _, e := range endpoints {
		if host, port, err := net.SplitHostPort(e); err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("endpoint %q of etcd: %s", e, want)
		}
	}
	slices.Sort(endpoints)
	return slices.Compact(endpoints), nil
}

// serviceOf returns the service that a target names, without slashes around it.
func serviceOf(target resolver.Target) string { return strings.Trim(target.Endpoint(), "/") }

// checkService reports what is wrong with the service that target names.
func checkService(target resolver.Target) error {
	switch u, name := target.URL, target.Endpoint(); {
	case serviceOf(target) == "":
		return fmt.Errorf("the service is empty: write etcd://%s/service", u.Host)
	case strings.HasSuffix(name, "/"):
		return fmt.Errorf("the service ends with a slash: write %s", strings.TrimRight(target.String(), "/"))
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("a query or fragment is not used: write %s", target)
	}
	return nil
}
