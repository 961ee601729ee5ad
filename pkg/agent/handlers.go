package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// putNetwork makes a network, and waits until this host has it.
func (a *Agent) putNetwork(r *http.Request) (any, error) {
	n := agentapi.Network{}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields() // an option that is not understood must not be lost in silence
	if err := decoder.Decode(&n); err != nil {
		return nil, fmt.Errorf("%w definition: %w", agentapi.ErrInvalid, err)
	}
	if name := r.PathValue("name"); n.Name == "" {
		n.Name = name
	} else if n.Name != name {
		return nil, fmt.Errorf("%w definition: it is of network %q, and the path names %q", agentapi.ErrInvalid, n.Name, name)
	}
	n, err := registry.Complete(n)
	if err != nil {
		return nil, err
	}
	if err := a.fitsHere(n); err != nil {
		return nil, err
	}
	if n.Encrypted {
		if err := a.trusts(); err != nil {
			return nil, fmt.Errorf("%w definition: %w", agentapi.ErrInvalid, err)
		}
	}
	made, err := a.registry.Create(r.Context(), n)
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	slog.Info("network made", "network", made.Name, "vni", made.VNI)
	a.await(r.Context(), func() bool { return a.offered(made) || a.hinders(made.Name, asked, ofNetwork) != nil })
	return made, nil
}

// fitsHere says whether a network can be on this host, and cuts off none that this host knows. One that is there already does.
func (a *Agent) fitsHere(n agentapi.Network) error {
	if _, there := a.cache.snapshot(n.Name); there {
		return nil
	}
	if err := spares(n, a.endpoints()); err != nil {
		return fmt.Errorf("%w definition: %w", agentapi.ErrInvalid, err)
	}
	p, err := a.machine.open()
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.fits(outside(n, 0, a.cache.place().address)); err != nil {
		return fmt.Errorf("%w definition: %w", agentapi.ErrInvalid, err)
	}
	return nil
}

// offered says whether this host has done what there is to do for a network: runtimes find it.
func (a *Agent) offered(n agentapi.Network) bool {
	snap, ok := a.cache.snapshot(n.Name)
	return ok && snap.definition.VNI == n.VNI
}

// freshMax is how long a request waits for a look that begins after it, before it takes for true what an earlier one has found.
const freshMax = 5 * time.Second

// hinders is the problem that keeps a network from what was asked: what was wrong before may be mended, and is no answer.
func (a *Agent) hinders(name string, asked time.Time, kinds ...string) error {
	if time.Since(asked) > freshMax {
		asked = time.Time{}
	}
	for _, kind := range kinds {
		if err := a.problems.since(asked, kind+name); err != nil {
			return err
		}
	}
	return nil
}

// await waits for something that a local pass brings about, or for the end of the request: the network is made either way.
func (a *Agent) await(ctx context.Context, done func() bool) {
	for {
		passed := a.cache.passes()
		if done() {
			return
		}
		select {
		case <-passed:
		case <-ctx.Done():
			return
		case <-time.After(awaitEvery): // what is waited for may be noted by another loop
		}
	}
}

// connectMax is how long a request waits for an agent that is being started to reach etcd.
const connectMax = 2 * time.Second

// awaitEvery is between two looks at what no pass tells of.
const awaitEvery = 50 * time.Millisecond

// putMembership makes this host a member of a network, and waits until it can give out an address of each family. A plugin asks for
// it with the first container.
func (a *Agent) putMembership(r *http.Request) (any, error) {
	return nil, a.enter(r.Context(), r.PathValue("name"))
}

// enter makes this host a member.
func (a *Agent) enter(ctx context.Context, name string) error {
	asked := time.Now()
	var n agentapi.Network
	var err error
	a.await(ctx, func() bool {
		n, err = a.definition(name)
		return err == nil || time.Since(asked) > connectMax
	})
	if err != nil {
		return err
	}
	a.cache.touch(name)
	a.cache.mark(&a.cache.local, name)
	a.wake.set()
	a.askRemote(name)
	var problem error
	a.await(ctx, func() bool {
		if problem = a.hinders(name, asked, ofClaims, ofNetwork); problem != nil {
			return true
		}
		if _, known := a.cache.state(); (!known || !a.cache.connected()) && time.Since(asked) > connectMax {
			problem = fmt.Errorf("etcd: %w: this host is no member of the network yet", agentapi.ErrUnavailable)
			return true
		}
		return a.entered(n)
	})
	if a.entered(n) {
		return nil
	}
	if problem == nil {
		problem = fmt.Errorf("network %s: %w: this host does not have a block of it yet", name, agentapi.ErrUnavailable)
	}
	return problem
}

// entered says whether the plugin is offered a block of each subnet: by its document, which it reads again after the answer.
func (a *Agent) entered(n agentapi.Network) bool {
	d := a.cache.document(n.Name)
	if !d.definition.Same(n) {
		return false
	}
	for _, subnet := range n.Subnets {
		if len(in(subnet.Prefix, d.offered)) == 0 {
			return false
		}
	}
	return true
}

// deleteHost takes everything from a host that is gone for good.
func (a *Agent) deleteHost(r *http.Request) (any, error) {
	node := r.PathValue("node")
	if err := a.registry.Forget(r.Context(), node); err != nil {
		return nil, err
	}
	a.problems.happened("host %s was forgotten", node)
	return nil, nil
}

// definition is a network's, as far as this host knows.
func (a *Agent) definition(name string) (agentapi.Network, error) {
	if s, ok := a.cache.state(); ok {
		n := s.Networks[name]
		if n.Readable() {
			return n.Definition, nil
		}
		if snap, kept := a.cache.snapshot(name); kept && (!n.Absent() || a.cache.isLost(name)) {
			return snap.definition, nil
		}
	} else if snap, ok := a.cache.snapshot(name); ok {
		return snap.definition, nil
	}
	return agentapi.Network{}, fmt.Errorf("network %s: %w", name, agentapi.ErrNotFound)
}

func (a *Agent) getNetwork(r *http.Request) (any, error) { return a.definition(r.PathValue("name")) }

func (a *Agent) listNetworks(*http.Request) (any, error) {
	all := []agentapi.Network{} // an empty list, not null
	for _, name := range a.cache.networks() {
		if n, err := a.definition(name); err == nil {
			all = append(all, n)
		}
	}
	return all, nil
}

// deleteNetwork removes a network, and waits until this host has let go of it.
func (a *Agent) deleteNetwork(r *http.Request) (any, error) {
	name := r.PathValue("name")
	a.count() // a container may have come a moment ago
	if n := len(a.cache.reservedIn(name)); n > 0 {
		return nil, fmt.Errorf("network %s is %w: remove its containers on host %s first", name, agentapi.ErrInUse, a.node())
	}
	if err := a.registry.Delete(r.Context(), name); err != nil {
		return nil, err
	}
	asked := time.Now()
	slog.Info("network deleted", "network", name)
	a.await(r.Context(), func() bool {
		_, there := a.cache.snapshot(name)
		return !there || a.hinders(name, asked, ofNetwork) != nil
	})
	return nil, nil
}

func (a *Agent) listPeers(r *http.Request) (any, error) {
	name := r.PathValue("name")
	s, known := a.cache.state()
	if known && s.Networks[name].Absent() {
		return nil, fmt.Errorf("network %s: %w", name, agentapi.ErrNotFound)
	}
	if known {
		n, used, err := a.registry.Network(r.Context(), name)
		if err == nil {
			return peersOf(s, n, used, a.node()), nil
		}
		if !errors.Is(err, agentapi.ErrUnavailable) {
			return nil, err
		}
	}
	if snap, ok := a.cache.snapshot(name); ok {
		return peersIn(snap), nil
	}
	return nil, fmt.Errorf("network %s: %w", name, agentapi.ErrNotFound)
}

// peersOf are the hosts of a network as the registry has them.
func peersOf(s registry.State, n *registry.Network, used map[string]bool, node string) []agentapi.Peer {
	peers, blocks := []agentapi.Peer{}, n.BlocksByNode()
	owners := n.Owners()
	maps.Copy(owners, used)
	for name := range owners {
		peers = append(peers, agentapi.Peer{
			Node: name, VTEP: s.Address(n, name), Blocks: blocks[name], Pins: n.PinsOf(name), Self: name == node, InUse: used[name],
		})
	}
	return sortPeers(peers)
}

// peersIn are the hosts of a network as the snapshot has them.
func peersIn(snap snapshot) []agentapi.Peer {
	peers := []agentapi.Peer{}
	for _, p := range snap.hosts.Peers {
		peer := agentapi.Peer{Node: p.Node, VTEP: p.VTEP, Blocks: p.Blocks, Self: p.VTEP == snap.hosts.Self}
		if !p.Key.IsZero() {
			peer.PublicKey = p.Key.String()
		}
		for _, pin := range snap.hosts.Pins {
			if pin.VTEP == p.VTEP {
				peer.Pins = append(peer.Pins, pin.Address)
			}
		}
		peers = append(peers, peer)
	}
	return sortPeers(peers)
}

func sortPeers(peers []agentapi.Peer) []agentapi.Peer {
	slices.SortFunc(peers, func(a, b agentapi.Peer) int { return strings.Compare(a.Node, b.Node) })
	return peers
}

// putPin gives an attachment of this host an address, and waits until the plugin is told of it.
func (a *Agent) putPin(r *http.Request) (any, error) {
	name := r.PathValue("name")
	addr, err := netip.ParseAddr(r.PathValue("address"))
	if err != nil {
		return nil, fmt.Errorf("%w address: %w", agentapi.ErrInvalid, err)
	}
	var pin agentapi.Pin
	if err := json.NewDecoder(r.Body).Decode(&pin); err != nil {
		return nil, fmt.Errorf("%w pin: %w", agentapi.ErrInvalid, err)
	}
	if err := a.enter(r.Context(), name); err != nil && !errors.Is(err, agentapi.ErrUnavailable) {
		return nil, err
	}
	s, ok := a.cache.state()
	n := s.Networks[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("etcd: %w: a pin needs it", agentapi.ErrUnavailable)
	case !n.Readable():
		return nil, fmt.Errorf("network %s: %w", name, agentapi.ErrNotFound)
	}
	record := registry.Pin{Node: a.node(), ContainerID: pin.ContainerID, IfName: pin.IfName}
	if err := a.registry.Pin(r.Context(), a.memory(), n, addr.Unmap(), record); err != nil {
		return nil, err
	}
	a.await(r.Context(), func() bool { return a.mayUse(name, addr.Unmap()) })
	return nil, nil
}

// mayUse says whether the plugin's document gives an address to this host.
func (a *Agent) mayUse(network string, addr netip.Addr) bool {
	snap := a.cache.document(network).snapshot
	return slices.Contains(snap.hosts.Pins, overlay.Pin{Address: addr, VTEP: snap.hosts.Self}) ||
		slices.ContainsFunc(snap.own().Blocks, func(b netip.Prefix) bool { return b.Contains(addr) })
}

// getHealth is the host's, or as far as it concerns one network.
func (a *Agent) getHealth(r *http.Request) (any, error) {
	return a.health(r.URL.Query().Get("network")), nil
}

func (a *Agent) health(network string) agentapi.Health {
	problems := a.problems.sentences(network)
	connected, beat := a.cache.connected(), a.cache.beat()
	if !connected && a.problems.of(aboutEtcd) == nil {
		problems = append(problems, "etcd: no member is connected: networks work as they are, and change when one is")
	}
	if !beat.confirmed.IsZero() && beat.err == nil && time.Since(beat.confirmed) > 2*a.config.AliveTTL {
		problems = append(problems, fmt.Sprintf("node: its heartbeat was not renewed for %v", time.Since(beat.confirmed).Round(time.Second)))
	}
	if connected && beat.confirmed.IsZero() && beat.err == nil {
		problems = append(problems, "node: its heartbeat is not in etcd yet")
	}
	if a.settling() {
		problems = append(problems, "etcd: it has gone back, and hosts claim again what they had")
	}
	return agentapi.Health{
		Node: a.node(), Version: a.config.Version, Underlay: a.cache.place().address, Healthy: len(problems) == 0, Problems: problems,
		Events: a.problems.history(), Confirmed: beat.confirmed,
		Etcd: agentapi.EtcdHealth{
			Endpoints: a.config.Endpoints, Connected: connected, Revision: a.cache.revision(), Since: a.cache.connectedSince(),
		},
		Encryption: a.devices.used(), Rotation: a.rotationHealth(), Unanswered: a.unanswered(network), Networks: len(a.cache.networks()), Member: len(a.cache.joinedNetworks()),
	}
}
