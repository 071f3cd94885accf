package localetcd

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

// etcd sets aside 64 MB for its log before the first entry.
func init() { wal.SegmentSizeBytes = 1 << 20 }

// member is the config of one etcd member. Its JSON goes to the child.
type member struct {
	Name     string
	Dir      string
	Client   string        // host:port for clients
	Peer     string        // host:port for other members
	Cluster  string        // name=URL of every member, "" for a lone one
	Token    string        // with the peers' addresses, what the cluster id is made of
	TokenTTL time.Duration // of authenticated users, 0 for etcd's default
	TLS      bool          // for clients; the files are where [serverTLS] says
}

func decodeMember(config []byte) (m member, err error) {
	if err := json.Unmarshal(config, &m); err != nil {
		return m, fmt.Errorf("localetcd: config of the child: %w", err)
	}
	return m, nil
}

// dataDir is where etcd itself keeps its data.
func (m member) dataDir() string { return filepath.Join(m.Dir, "etcd") }

// peerURL is what the others, and the member itself, call it by.
func (m member) peerURL() string { return m.Name + "=http://" + m.Peer }

// embedConfig gives the config that etcd itself takes.
func (m member) embedConfig() *embed.Config {
	c := embed.NewConfig()
	c.Name, c.Dir, c.InitialClusterToken = m.Name, m.dataDir(), m.Token
	client, peer := url.URL{Scheme: "http", Host: m.Client}, url.URL{Scheme: "http", Host: m.Peer}
	if m.TLS {
		client.Scheme = "https"
		files := serverTLS(m.Dir)
		c.ClientTLSInfo.CertFile, c.ClientTLSInfo.KeyFile = files.cert, files.key
		c.ClientTLSInfo.TrustedCAFile, c.ClientTLSInfo.ClientCertAuth = files.ca, true
	}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = cmp.Or(m.Cluster, m.peerURL())
	// A lone member has nobody to hear of: it may elect itself at once. Others
	// must not lose their leader to a busy machine.
	c.TickMs, c.ElectionMs = 10, 100
	if m.Cluster != "" {
		c.TickMs, c.ElectionMs = 50, 500
	}
	if m.TokenTTL != 0 {
		c.AuthTokenTTL = uint(m.TokenTTL / time.Second)
	}
	c.BcryptCost = 4 // the least that bcrypt knows
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
