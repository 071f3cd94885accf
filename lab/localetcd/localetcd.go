// Package localetcd starts etcd for tests and demos, and makes it fail: in
// process ([Start], [New]), as a child process that can be killed, suspended,
// restarted and put back to older data ([StartProcess], [NewProcess]), or as
// three such processes of which one can be cut off from the others
// ([StartCluster], [NewCluster]). A [Proxy] in between is the network that fails.
//
// No etcd binary is needed: the child is the running binary itself, so a program
// or a test package that starts one calls [RunIfChild] first:
//
//	func TestMain(m *testing.M) {
//		localetcd.RunIfChild()
//		os.Exit(m.Run())
//	}
//
// It is etcd, unchanged, but tuned to start and stop fast: heartbeats of 10 ms, or
// 50 ms in a cluster, small log segments, cheap password hashes, and no fsync.
// What a killed process wrote is safe in the page cache; only a crash of the whole
// machine would lose it. Leases last at least 1 s. It listens on 127.0.0.1, without
// TLS unless told ([WithTLS]): nothing to keep data in.
package localetcd

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	// startTimeout is how long etcd may take to elect a leader and to serve.
	startTimeout = 30 * time.Second
	dialTimeout  = 5 * time.Second
)

// Option changes how etcd is started.
type Option func(*options)

type options struct {
	dir      string
	ca       *CA
	tokenTTL time.Duration
}

// WithDir keeps the data in dir, which is made if it is missing and is never
// removed. Unless told, the data is in a temporary directory that goes with the
// server.
func WithDir(dir string) Option { return func(o *options) { o.dir = dir } }

// WithTLS has clients speak TLS and show a certificate of that authority. Its
// server's key is kept with the data. Members talk to each other without.
func WithTLS(ca *CA) Option { return func(o *options) { o.ca = ca } }

// WithTokenTTL is how long the token of an authenticated user lives after its
// last use, in whole seconds; zero is etcd's own five minutes. etcd looks once a
// second: a token may live for one second more.
func WithTokenTTL(ttl time.Duration) Option { return func(o *options) { o.tokenTTL = ttl } }

// collect gives the options with a directory for the data, and what removes it
// again.
func collect(opts []Option) (o options, remove func() error, err error) {
	for _, opt := range opts {
		opt(&o)
	}
	if ttl := o.tokenTTL; ttl < 0 || ttl%time.Second != 0 {
		return o, nil, fmt.Errorf("localetcd: token TTL: got %v, want whole seconds", ttl)
	}
	if o.dir != "" {
		return o, func() error { return nil }, nil
	}
	o.dir, err = os.MkdirTemp("", "localetcd-")
	if err != nil {
		return o, nil, fmt.Errorf("localetcd: %w", err)
	}
	return o, func() error { return os.RemoveAll(o.dir) }, nil
}

// member gives a member that is alone, with ports it can keep.
func (o options) member() member {
	return member{
		Name: "lone", Dir: o.dir, Client: keepablePort(), Peer: keepablePort(),
		Token: rand.Text(), TokenTTL: o.tokenTTL, TLS: o.ca != nil,
	}
}

// newClient gives a client of its own, quiet about a server that is not there:
// that is what this package is for.
func newClient(ca *CA, addrs ...string) (*clientv3.Client, error) {
	var config *tls.Config
	if ca != nil {
		config = ca.ClientConfig()
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   addrs,
		DialTimeout: dialTimeout,
		TLS:         config,
		Logger:      zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("localetcd: client for %v: %w", addrs, err)
	}
	return client, nil
}
