package registry

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/etcd/etcdsim"
)

// patience is how long a test waits for what has to come.
const patience = time.Minute

// newStore is a simulated etcd, and a client of it.
func newStore(t *testing.T) (*etcdsim.Sim, *Client) {
	t.Helper()
	sim := etcdsim.New()
	return sim, New(sim.Client(1))
}

// recorder is a Follower for tests.
type recorder struct {
	states    chan State
	disturbed chan error
	wentBack  chan error
	following *Following
}

func testDefaults() Defaults { return Defaults{ReclaimAfter: Duration(time.Hour), Family: 4} }

// follow starts to follow, as a member of networks, until the test ends.
func follow(t *testing.T, c *Client, m Memory, networks ...string) *recorder {
	t.Helper()
	r := &recorder{states: make(chan State, 1000), disturbed: make(chan error, 1000), wentBack: make(chan error, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	r.following = c.NewFollowing(r, m, testDefaults)
	r.following.Join(networks)
	go func() {
		r.following.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func (r *recorder) Update(s State, _ Changed) { r.states <- s }
func (r *recorder) Disturbed(err error)       { r.disturbed <- err }
func (r *recorder) Remember(_ Memory, err error) {
	if err != nil {
		r.wentBack <- err
	}
}

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
	_, list, err := c.list(t.Context(), etcd.Prefix(root))
	if err != nil {
		t.Fatal(err)
	}
	var changes []etcd.Change
	for _, kv := range list {
		changes = append(changes, etcd.Change{KV: kv})
	}
	s, _ := State{}.apply(changes)
	return s
}

// alive gives nodes a heartbeat that stays, each with its name as the boot ID.
func alive(t *testing.T, sim *etcdsim.Sim, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		sim.Put(heartbeatKey(node), node)
	}
}
