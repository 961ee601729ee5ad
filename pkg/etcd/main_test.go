package etcd

import (
	"net/netip"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// patience is how long a test waits for what has to come.
const patience = time.Minute

// newEtcd runs an etcd of one member for a test.
func newEtcd(t *testing.T) *testnet.Etcd {
	t.Helper()
	return startEtcd(t, testnet.EtcdMember{Name: "a", Address: "127.0.0.1", Dir: t.TempDir()})
}

func startEtcd(t *testing.T, members ...testnet.EtcdMember) *testnet.Etcd {
	t.Helper()
	etcd, err := testnet.StartEtcd(members...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := etcd.Close(); err != nil {
			t.Error(err)
		}
	})
	return etcd
}

func newClient(t *testing.T, endpoints ...string) *Client {
	t.Helper()
	return openClient(t, nil, endpoints...)
}

func openClient(t *testing.T, config *TLS, endpoints ...string) *Client {
	t.Helper()
	c, err := Open(Config{Endpoints: endpoints, TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// put writes a key.
func put(t *testing.T, c Store, key, value string) Result {
	t.Helper()
	r, err := c.Txn(t.Context(), Txn{Then: []Op{Set(key, value)}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
