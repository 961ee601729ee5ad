package etcd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"google.golang.org/grpc/credentials"
)

// ErrTLS says that the certificates or the scheme do not fit etcd's.
var ErrTLS = errors.New("TLS mismatch")

// TLS is the files of a secure connection. Each handshake reads them again, as certificates are renewed in place; what cannot
// be read then leaves the last in use.
type TLS struct {
	ca, cert, key string

	mu     sync.Mutex
	text   []byte // of all files
	config *tls.Config
}

// LoadTLS reads PEM files: the authorities that may have signed etcd's certificates (empty: those of the system), and this
// host's certificate with its key (both empty: none).
func LoadTLS(caFile, certFile, keyFile string) (*TLS, error) {
	switch {
	case certFile == "" && keyFile != "":
		return nil, errors.New("etcd-key is given and etcd-cert is not: give both, or none")
	case certFile != "" && keyFile == "":
		return nil, errors.New("etcd-cert is given and etcd-key is not: give both, or none")
	}
	t := &TLS{ca: caFile, cert: certFile, key: keyFile}
	return t, t.load()
}

// Mutual says whether this host shows a certificate of its own.
func (t *TLS) Mutual() bool { return t.cert != "" }

// Config is the configuration as the files are now.
func (t *TLS) Config() *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.load() // half written: the last is still good, or etcd says that it is not
	return t.config.Clone()
}

func (t *TLS) load() error {
	var all [3][]byte
	for i, file := range []struct{ key, path string }{{"etcd-cacert", t.ca}, {"etcd-cert", t.cert}, {"etcd-key", t.key}} {
		if file.path == "" {
			continue
		}
		var err error
		if all[i], err = os.ReadFile(file.path); err != nil {
			return fmt.Errorf("%s: %w", file.key, err)
		}
	}
	text := bytes.Join(all[:], []byte{0})
	if t.config != nil && bytes.Equal(text, t.text) {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.ca != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(all[0]) {
			return fmt.Errorf("etcd-cacert: %s holds no certificate in PEM", t.ca)
		}
	}
	if t.cert != "" {
		pair, err := tls.X509KeyPair(all[1], all[2])
		if err != nil {
			return fmt.Errorf("etcd-cert and etcd-key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	t.config, t.text = config, text
	return nil
}

// handshakes are gRPC's, by the files as they are at each.
type handshakes struct {
	credentials.TransportCredentials
	files *TLS
}

func newHandshakes(t *TLS) credentials.TransportCredentials {
	return &handshakes{credentials.NewTLS(t.Config()), t}
}

// ClientHandshake implements credentials.TransportCredentials.
func (h *handshakes) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(h.files.Config()).ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (h *handshakes) Clone() credentials.TransportCredentials { return newHandshakes(h.files) }
