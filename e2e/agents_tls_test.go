package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// certificates are made as docs/encryption.md says.
const certificates = `
openssl req -x509 -newkey ed25519 -nodes -days 3650 -subj /CN=fairway-ca -keyout ca-key.pem -out ca.pem
openssl req -newkey ed25519 -nodes -subj /CN=etcd -addext subjectAltName=IP:192.0.2.1 -keyout etcd-key.pem -out etcd.csr
openssl x509 -req -in etcd.csr -CA ca.pem -CAkey ca-key.pem -days 365 -copy_extensions copy -out etcd.pem
for name in root host1 host2 host3; do
	openssl req -newkey ed25519 -nodes -subj /CN=$name -keyout $name-key.pem -out $name.csr
	openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca-key.pem -days 365 -out $name.pem
done
`

// roles are given as docs/fairwayd.md says, to each host its own.
const roles = `
for host in host1 host2 host3; do
	etcdctl role add $host
	etcdctl role grant-permission $host --prefix=true read /fairway/v1/
	for key in nodes/$host alive/$host marks/$host cluster keeper settling; do etcdctl role grant-permission $host readwrite /fairway/v1/$key; done
	for prefix in networks/ vni/ net/ seen/ wanted/; do etcdctl role grant-permission $host --prefix=true readwrite /fairway/v1/$prefix; done
	etcdctl user add $host --no-password
	etcdctl user grant-role $host $host
done
etcdctl user add root --no-password
etcdctl user grant-role root root
etcdctl auth enable
`

// newSecureCluster is three hosts whose etcd knows each by its certificate.
func newSecureCluster(t *testing.T) (c *cluster, ctl func(as, script string) (string, error)) {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	testnet.Sh(t, "sh", "-ec", "cd "+dir+certificates)
	pem := func(name string) string { return filepath.Join(dir, name+".pem") }
	raised := testnet.NewHosts(t, 3, filepath.Join(root, "bin"))
	etcd, err := testnet.StartEtcd(testnet.EtcdMember{
		Name: "m1", Address: "192.0.2.1", Dir: t.TempDir(), In: raised.Underlay,
		TLS: &testnet.EtcdTLS{CA: pem("ca"), Cert: pem("etcd"), Key: pem("etcd-key")},
	})
	if err != nil {
		t.Fatal(err)
	}
	c = clusterOn(t, raised, etcd)
	for _, h := range c.hosts {
		h.flags["etcd-cacert"], h.flags["etcd-cert"], h.flags["etcd-key"] = pem("ca"), pem(h.Name), pem(h.Name+"-key")
	}
	ctl = func(as, script string) (string, error) {
		cmd := raised.Underlay.Command("sh", "-ec", script)
		cmd.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+etcd.Endpoints()[0],
			"ETCDCTL_CACERT="+pem("ca"), "ETCDCTL_CERT="+pem(as), "ETCDCTL_KEY="+pem(as+"-key"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	return c, ctl
}

// TestEncryptedByMutualTLS: where etcd tells hosts by their certificates, networks are encrypted without further ado, keys are rotated,
// and no host can publish a key for another.
func TestEncryptedByMutualTLS(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal(err)
	}
	secure, ctl := newSecureCluster(t)
	if out, err := ctl("root", roles); err != nil {
		t.Fatalf("roles: %v\n%s", err, out)
	}
	c := &confidants{cluster: secure, h1: secure.hosts[0], h2: secure.hosts[1], h3: secure.hosts[2]}
	c.start(t)
	c.watch = c.raised.Watch(t)
	c.make(t)
	c.a, c.b, c.d = c.h1.confide(t, "secret", "a"), c.h2.confide(t, "secret", "b"), c.h3.confide(t, "secret", "d")
	c.speak(t)
	c.h2.rotateKey(t)
	c.speak(t)
	for _, h := range c.hosts {
		awaitHealthy(t, h)
	}
	record := func() string {
		out, err := ctl("host3", "etcdctl get --print-value-only /fairway/v1/nodes/host1")
		if err != nil || !strings.Contains(out, "publicKey") {
			t.Fatalf("record of host1: %s, %v", out, err)
		}
		return out
	}
	before := record()
	if out, err := ctl("host3", "etcdctl put /fairway/v1/nodes/host1 '{}'"); err == nil || !strings.Contains(out, "permission denied") {
		t.Errorf("host3 writes the record of host1: %s, %v", out, err)
	}
	if out, err := ctl("host3", "etcdctl --cert= --key= get /fairway/v1/nodes/host1"); err == nil {
		t.Errorf("without a certificate: %s", out)
	}
	if after := record(); after != before {
		t.Errorf("the record of host1 was %s and is %s", before, after)
	}
	c.sawNothing(t)
}
