// Package localetcd starts etcd for tests and demos: in process ([Start], [New])
// or as a child process that can be killed, suspended and restarted on its data
// ([StartProcess], [NewProcess]). No etcd binary is needed: the child is the
// running binary itself, so a program or a test package that starts one calls
// [RunIfChild] first:
//
//	func TestMain(m *testing.M) {
//		localetcd.RunIfChild()
//		os.Exit(m.Run())
//	}
//
// It is etcd, unchanged, but tuned to start and stop fast: heartbeats of 10 ms,
// small log segments, and no fsync. What a killed process wrote is safe in the page
// cache; only a crash of the whole machine would lose it. Leases last at
// least 1 s. It listens on 127.0.0.1 without TLS: nothing to keep data in.
package localetcd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

const (
	// startTimeout is how long etcd may take to elect itself and to serve.
	startTimeout = 30 * time.Second
	dialTimeout  = 5 * time.Second
)

// etcd sets aside 64 MB for its log before the first entry.
func init() { wal.SegmentSizeBytes = 1 << 20 }

// Option changes how etcd is started.
type Option func(*options)

type options struct {
	dir string
}

// WithDir keeps the data in dir, which is made if it is missing and is never
// removed. Unless told, the data is in a temporary directory that goes with the
// server.
func WithDir(dir string) Option { return func(o *options) { o.dir = dir } }

// dataDir gives the directory for the data and what removes it again.
func dataDir(opts []Option) (dir string, remove func() error, err error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if o.dir != "" {
		return o.dir, func() error { return nil }, nil
	}
	dir, err = os.MkdirTemp("", "localetcd-")
	if err != nil {
		return "", nil, fmt.Errorf("localetcd: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// member is the config of one etcd member. Its JSON goes to the child.
type member struct {
	Name   string // "" is the lone member
	Dir    string
	Client string // host:port for clients
	Peer   string // host:port for other members
}

func decodeMember(config []byte) (m member, err error) {
	if err := json.Unmarshal(config, &m); err != nil {
		return m, fmt.Errorf("localetcd: config of the child: %w", err)
	}
	return m, nil
}

// embedConfig gives the config that etcd itself takes.
func (m member) embedConfig() *embed.Config {
	client, peer := httpURL(m.Client), httpURL(m.Peer)
	c := embed.NewConfig()
	c.Name = cmp.Or(m.Name, "lone")
	c.Dir = filepath.Join(m.Dir, "etcd")
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.Name + "=" + peer.String()
	// A lone member has nobody to hear of: it may elect itself at once.
	c.TickMs, c.ElectionMs = 10, 100
	c.UnsafeNoFsync = true
	c.QuotaBackendBytes = 256 << 20
	c.EnableGRPCGateway = false
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(lastWords())
	return c
}

// lastWords writes to standard error what etcd dies of, and nothing else: it
// logs an error for each listener it closes, and warns of much that is meant
// to happen here.
func lastWords() *zap.Logger {
	c := zap.NewProductionConfig()
	c.Level = zap.NewAtomicLevelAt(zap.PanicLevel)
	c.OutputPaths, c.ErrorOutputPaths = []string{"stderr"}, []string{"stderr"}
	return zap.Must(c.Build(zap.WithCaller(false)))
}

func httpURL(host string) url.URL { return url.URL{Scheme: "http", Host: host} }

// newClient gives a client of its own, quiet about a server that is not there:
// that is what this package is for.
func newClient(addr string) (*clientv3.Client, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{addr},
		DialTimeout: dialTimeout,
		Logger:      zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("localetcd: client for %s: %w", addr, err)
	}
	return client, nil
}

// listenable reports whether host:port is free.
func listenable(addr string) bool {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return false
	}
	return l.Close() == nil
}
