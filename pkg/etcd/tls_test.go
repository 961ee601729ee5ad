package etcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// authority signs certificates for a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	template := certificate(name)
	template.IsCA, template.KeyUsage, template.BasicConstraintsValid = true, x509.KeyUsageCertSign, true
	a.file, _ = a.issue(t, name, template)
	return a
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

// issue signs a certificate, the authority's own at first, and gives the files of it and its key.
func (a *authority) issue(t *testing.T, name string, template *x509.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert == nil {
		a.cert, a.key = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+"-key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func (a *authority) server(t *testing.T, name, ip string, until time.Time) (certFile, keyFile string) {
	t.Helper()
	template := certificate(name)
	template.IPAddresses, template.NotAfter = []net.IP{net.ParseIP(ip)}, until
	return a.issue(t, name, template)
}

func load(t *testing.T, ca, cert, key string) *TLS {
	t.Helper()
	config, err := LoadTLS(ca, cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestTLS(t *testing.T) {
	ours, other := newAuthority(t, "ours"), newAuthority(t, "other")
	hour := time.Now().Add(time.Hour)
	serverCert, serverKey := ours.server(t, "etcd", "127.0.0.1", hour)
	clientCert, clientKey := ours.issue(t, "host", certificate("host"))
	strangerCert, strangerKey := other.issue(t, "stranger", certificate("stranger"))
	etcd := startEtcd(t, testnet.EtcdMember{
		Name: "a", Address: "127.0.0.1", Dir: t.TempDir(), TLS: &testnet.EtcdTLS{CA: ours.file, Cert: serverCert, Key: serverKey},
	})
	secure := etcd.Endpoints()[0]
	good := load(t, ours.file, clientCert, clientKey)
	c := openClient(t, good, secure)
	put(t, c, "blue", "")
	for name, test := range map[string]struct {
		config   *TLS
		endpoint string
		want     string
	}{
		"another authority":        {load(t, other.file, clientCert, clientKey), secure, "signed by an authority that is not in etcd-cacert"},
		"another address":          {good, strings.Replace(secure, "127.0.0.1", "127.0.0.2", 1), "nobody listens on https://127.0.0.2:2379"},
		"no certificate":           {load(t, ours.file, "", ""), secure, "etcd refuses this host's certificate"},
		"a stranger's certificate": {load(t, ours.file, strangerCert, strangerKey), secure, "etcd refuses this host's certificate"},
		"plain to one that is not": {nil, strings.Replace(secure, "https", "http", 1), "write https:// in etcd-endpoints"},
		"nobody there":             {good, "https://127.0.0.1:1", "nobody listens on https://127.0.0.1:1: start etcd there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := openClient(t, test.config, test.endpoint).Range(t.Context(), Range{Key: "green"})
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// handshake has a client knock at a server that does no more than TLS.
func handshake(t *testing.T, config *TLS, certFile, keyFile string) error {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_, _ = conn.Read(make([]byte, 1)) // which runs the handshake
			_ = conn.Close()
		}
	}()
	endpoint := "https://" + listener.Addr().String()
	return openClient(t, config, endpoint).knock(t.Context(), endpoint)
}

func TestServersCertificate(t *testing.T) {
	ours := newAuthority(t, "ours")
	hour := time.Now().Add(time.Hour)
	config := load(t, ours.file, "", "")
	otherCert, otherKey := ours.server(t, "other", "192.0.2.1", hour)
	if err := handshake(t, config, otherCert, otherKey); err == nil || !strings.Contains(err.Error(), "etcd's certificate is not for 127.0.0.1") {
		t.Errorf("a certificate for another address: error %v", err)
	}
	oldCert, oldKey := ours.server(t, "old", "127.0.0.1", time.Now().Add(-time.Minute))
	if err := handshake(t, config, oldCert, oldKey); err == nil || !strings.Contains(err.Error(), "expired or not yet valid") {
		t.Errorf("a certificate that is expired: error %v", err)
	}
}

func TestSecureToPlain(t *testing.T) {
	etcd := newEtcd(t)
	c := openClient(t, load(t, "", "", ""), strings.Replace(etcd.Endpoints()[0], "http", "https", 1))
	if _, err := c.Range(t.Context(), Range{Key: "a"}); err == nil || !strings.Contains(err.Error(), "write http:// in etcd-endpoints") {
		t.Errorf("error %v", err)
	}
}

func TestLoadTLSRefuses(t *testing.T) {
	ours := newAuthority(t, "ours")
	cert, key := ours.issue(t, "host", certificate("host"))
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ ca, cert, key, want string }{
		{"/nowhere", "", "", "etcd-cacert: open /nowhere"},
		{empty, "", "", "holds no certificate in PEM"},
		{ours.file, cert, "", "etcd-cert is given and etcd-key is not"},
		{ours.file, "", key, "etcd-key is given and etcd-cert is not"},
		{ours.file, key, cert, "etcd-cert and etcd-key: "},
	} {
		if _, err := LoadTLS(test.ca, test.cert, test.key); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want %q", err, test.want)
		}
	}
}

// Certificates are renewed in place: what comes next uses the new ones, of the host and of the authority.
func TestRenewedCertificates(t *testing.T) {
	ours := newAuthority(t, "ours")
	serverCert, serverKey := ours.server(t, "etcd", "127.0.0.1", time.Now().Add(time.Hour))
	member := testnet.EtcdMember{
		Name: "a", Address: "127.0.0.1", Dir: t.TempDir(), TLS: &testnet.EtcdTLS{CA: ours.file, Cert: serverCert, Key: serverKey},
	}
	etcd := startEtcd(t, member)
	dir := t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "host.pem"), filepath.Join(dir, "host-key.pem")
	other := newAuthority(t, "other")
	strangerCert, strangerKey := other.issue(t, "stranger", certificate("stranger"))
	replace := func(file, by string) {
		t.Helper()
		text, err := os.ReadFile(by)
		if err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace(ca, other.file)
	replace(cert, strangerCert)
	replace(key, strangerKey)
	c := openClient(t, load(t, ca, cert, key), etcd.Endpoints()...)
	if _, err := c.Range(t.Context(), Range{Key: "a"}); err == nil {
		t.Fatal("a stranger's certificates are as good")
	}
	hostCert, hostKey := ours.issue(t, "host", certificate("host"))
	replace(ca, ours.file)
	replace(cert, hostCert)
	replace(key, hostKey)
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if _, err := c.Range(t.Context(), Range{Key: "a"}); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("after renewal: %v", err)
		}
	}
	if err := os.Truncate(key, 10); err != nil { // while it is being written
		t.Fatal(err)
	}
	c.Leave(addr("127.0.0.1"))
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if _, err := c.Range(t.Context(), Range{Key: "a"}); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("with a key that is half written: %v", err)
		}
	}
}
