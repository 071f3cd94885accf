package localetcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CA is an authority for tests, with the certificates of one server and one
// client. It is immutable, and so safe for concurrent use.
type CA struct {
	root, server, client tls.Certificate
}

// NewCA makes an authority that no other one trusts.
func NewCA() (*CA, error) {
	ca := &CA{}
	if err := ca.make(); err != nil {
		return nil, fmt.Errorf("localetcd: certificates: %w", err)
	}
	return ca, nil
}

func (ca *CA) make() (err error) {
	ca.root, err = ca.issue(&x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	if err != nil {
		return err
	}
	ca.server, err = ca.issue(&x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:    []string{"localhost"},
	})
	if err != nil {
		return err
	}
	ca.client, err = ca.issue(&x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

// issue signs what c asks for; as long as there is no root, with c's own key. It
// gives no common name: etcd would take that for a user.
func (ca *CA) issue(c *x509.Certificate) (cert tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, err
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.Subject = pkix.Name{Organization: []string{"localetcd"}}
	// An hour back: clocks of containers drift.
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent := ca.root
	if parent.Leaf == nil {
		parent = tls.Certificate{Leaf: c, PrivateKey: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent.Leaf, &key.PublicKey, parent.PrivateKey)
	if err != nil {
		return cert, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// ClientConfig is for a client that trusts the servers of this authority and
// that they trust. It is the caller's own. Another authority's config fails on
// both sides; with only its Certificates put in here, it is the server that refuses.
func (ca *CA) ClientConfig() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(ca.root.Leaf)
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      roots,
		Certificates: []tls.Certificate{ca.client},
	}
}

// tlsFiles are the files a server reads its certificates from.
type tlsFiles struct{ cert, key, ca string }

// serverTLS is where a server with its data in dir finds its certificates.
func serverTLS(dir string) tlsFiles {
	dir = filepath.Join(dir, "tls")
	return tlsFiles{
		cert: filepath.Join(dir, "server.pem"),
		key:  filepath.Join(dir, "server-key.pem"),
		ca:   filepath.Join(dir, "ca.pem"),
	}
}

// writeServer puts the files there that [serverTLS] names. There is nothing to
// write without an authority.
func (ca *CA) writeServer(dir string) error {
	if ca == nil {
		return nil
	}
	key, err := x509.MarshalPKCS8PrivateKey(ca.server.PrivateKey)
	if err != nil {
		return fmt.Errorf("localetcd: certificates: %w", err)
	}
	files := serverTLS(dir)
	err = errors.Join(
		os.MkdirAll(filepath.Dir(files.cert), 0o700),
		writePEM(files.cert, "CERTIFICATE", ca.server.Leaf.Raw),
		writePEM(files.key, "PRIVATE KEY", key),
		writePEM(files.ca, "CERTIFICATE", ca.root.Leaf.Raw),
	)
	if err != nil {
		return fmt.Errorf("localetcd: certificates: %w", err)
	}
	return nil
}

func writePEM(name, kind string, der []byte) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
