package registry

import (
	"context"
	"crypto/tls"
	"net/netip"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairway-cni/fairway/pkg/agentapi"
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

func openClient(t *testing.T, config *tls.Config, endpoints ...string) *Client {
	t.Helper()
	c, err := Open(Config{Endpoints: endpoints, TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// recorder is a Follower for tests.
type recorder struct {
	states    chan State
	disturbed chan error
}

// follow starts to follow, until the test ends.
func follow(t *testing.T, c *Client) *recorder {
	t.Helper()
	r := &recorder{states: make(chan State, 1000), disturbed: make(chan error, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		c.Follow(ctx, r)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func (r *recorder) Update(s State, _ []string) { r.states <- s }
func (r *recorder) Disturbed(err error)        { r.disturbed <- err }

// await waits for a state that fits.
func (r *recorder) await(t *testing.T, what string, fits func(State) bool) State {
	t.Helper()
	deadline := time.After(patience)
	var last State
	for {
		select {
		case last = <-r.states:
			if fits(last) {
				return last
			}
		case <-deadline:
			t.Fatalf("%s: not seen in time; last state: %+v", what, last)
		}
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// network is a definition of one subnet.
func network(name, subnet string, blockLength int) agentapi.Network {
	return agentapi.Network{Name: name, Subnets: []agentapi.Subnet{{Prefix: prefix(subnet), BlockLength: blockLength}}}
}

// create makes a network and gives it as the registry holds it.
func create(t *testing.T, c *Client, n agentapi.Network) *Network {
	t.Helper()
	made, err := c.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return current(t, c).Networks[made.Name]
}

// current reads the whole state.
func current(t *testing.T, c *Client) State {
	t.Helper()
	revision, list, err := c.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, _ := State{}.replace(revision, list)
	return s
}

func withPrefixKeysOnly() []clientv3.OpOption {
	return []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithKeysOnly()}
}
