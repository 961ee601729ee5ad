package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/kernel"
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
	if err := a.fits(n); err != nil {
		return nil, err
	}
	made, err := a.registry.Create(r.Context(), n)
	if err != nil {
		return nil, err
	}
	slog.Info("network made", "network", made.Name, "vni", made.VNI)
	a.await(r.Context(), func() bool { return a.settled(made) })
	return made, nil
}

// fits says whether a network can be on this host: the other hosts cannot be asked. One that is there already does.
func (a *Agent) fits(n agentapi.Network) error {
	if _, there := a.known.remembered()[n.Name]; there {
		return nil
	}
	m := model(n)
	probe := m
	if probe.VNI == 0 {
		probe.VNI = 1 // it will be given a free one
	}
	if _, err := probe.Text().Parse(); err != nil {
		return fmt.Errorf("%w definition: %w", agentapi.ErrInvalid, err)
	}
	vtep := a.known.vtep()
	if !vtep.IsValid() {
		return nil // there is nothing to compare with
	}
	k, err := kernel.Open("")
	if err != nil {
		return err
	}
	defer k.Close()
	o, err := declare(k, snapshot{definition: n, hosts: overlay.Hosts{Self: vtep, Peers: []overlay.Peer{{VTEP: vtep}}}})
	if err != nil {
		return fmt.Errorf("%w definition: %w", agentapi.ErrInvalid, err)
	}
	if err := o.Ready(k); err != nil {
		return fmt.Errorf("%w definition: %w", agentapi.ErrInvalid, err)
	}
	return nil
}

// settled says whether this host has done what there is to do for a network: it is in place, or a problem is noted.
func (a *Agent) settled(n agentapi.Network) bool {
	if a.known.problem(aboutNetwork(n.Name)) != nil || a.known.problem(aboutClaims(n.Name)) != nil {
		return true
	}
	snap, ok := a.known.remembered()[n.Name]
	return ok && snap.definition.VNI == n.VNI && len(snap.own().Blocks) >= len(n.Subnets)
}

// await waits for something that a local pass brings about, or for the end of the request: the network is made either way.
func (a *Agent) await(ctx context.Context, done func() bool) {
	for {
		passed := a.known.passes()
		if done() {
			return
		}
		select {
		case <-passed:
		case <-ctx.Done():
			return
		}
	}
}

// definition is a network's, as far as this host knows.
func (a *Agent) definition(name string) (agentapi.Network, error) {
	if s, ok := a.known.state(); ok {
		if n := s.Networks[name]; n.Readable() {
			return n.Definition, nil
		} else if snap, kept := a.known.remembered()[name]; kept && !n.Absent() {
			return snap.definition, nil
		}
	} else if snap, ok := a.known.remembered()[name]; ok {
		return snap.definition, nil
	}
	return agentapi.Network{}, fmt.Errorf("network %s: %w", name, agentapi.ErrNotFound)
}

func (a *Agent) getNetwork(r *http.Request) (any, error) { return a.definition(r.PathValue("name")) }

func (a *Agent) listNetworks(*http.Request) (any, error) {
	all := []agentapi.Network{} // an empty list, not null
	for _, name := range a.known.networks() {
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
	if n := len(a.known.reservedIn(name)); n > 0 {
		return nil, fmt.Errorf("network %s is %w: remove its containers on host %s first", name, agentapi.ErrInUse, a.config.Node)
	}
	if err := a.registry.Delete(r.Context(), name); err != nil {
		return nil, err
	}
	slog.Info("network deleted", "network", name)
	a.await(r.Context(), func() bool {
		_, there := a.known.remembered()[name]
		return !there || a.known.problem(aboutNetwork(name)) != nil
	})
	return nil, nil
}

func (a *Agent) listPeers(r *http.Request) (any, error) {
	name := r.PathValue("name")
	if s, ok := a.known.state(); ok {
		if n := s.Networks[name]; !n.Absent() {
			return peersOf(n, a.config.Node), nil
		}
	} else if snap, ok := a.known.remembered()[name]; ok {
		return peersIn(snap), nil
	}
	return nil, fmt.Errorf("network %s: %w", name, agentapi.ErrNotFound)
}

// peersOf are the hosts of a network as the registry has them.
func peersOf(n *registry.Network, node string) []agentapi.Peer {
	peers, blocks := []agentapi.Peer{}, n.BlocksByNode()
	for name := range n.Owners() {
		peers = append(peers, agentapi.Peer{
			Node: name, VTEP: n.Nodes[name].VTEP, Blocks: blocks[name], Pins: n.PinsOf(name), Self: name == node, InUse: n.Used[name],
		})
	}
	return sortPeers(peers)
}

// peersIn are the hosts of a network as the snapshot has them.
func peersIn(snap snapshot) []agentapi.Peer {
	peers := []agentapi.Peer{}
	for _, p := range snap.hosts.Peers {
		peer := agentapi.Peer{Node: p.Node, VTEP: p.VTEP, Blocks: p.Blocks, Self: p.VTEP == snap.hosts.Self}
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
	s, ok := a.known.state()
	n := s.Networks[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("etcd: %w: a pin needs it", agentapi.ErrUnavailable)
	case !n.Readable():
		return nil, fmt.Errorf("network %s: %w", name, agentapi.ErrNotFound)
	}
	record := registry.Pin{Node: a.config.Node, ContainerID: pin.ContainerID, IfName: pin.IfName}
	if err := a.registry.Pin(r.Context(), n, addr.Unmap(), record); err != nil {
		return nil, err
	}
	a.await(r.Context(), func() bool { return a.mayUse(name, addr.Unmap()) })
	return nil, nil
}

// mayUse says whether the snapshot gives an address to this host.
func (a *Agent) mayUse(network string, addr netip.Addr) bool {
	snap := a.known.remembered()[network]
	return slices.Contains(snap.hosts.Pins, overlay.Pin{Address: addr, VTEP: snap.hosts.Self}) ||
		slices.ContainsFunc(snap.own().Blocks, func(b netip.Prefix) bool { return b.Contains(addr) })
}

func (a *Agent) getHealth(*http.Request) (any, error) { return a.health(), nil }

func (a *Agent) health() agentapi.Health {
	problems := a.known.sentences()
	connected := a.known.connected()
	if !connected && a.known.problem(aboutEtcd) == nil {
		problems = append(problems, "etcd: no member is connected: networks work as they are, and change when one is")
	}
	return agentapi.Health{
		Node: a.config.Node, Version: a.config.Version, Underlay: a.known.vtep(), Healthy: len(problems) == 0, Problems: problems,
		Etcd: agentapi.EtcdHealth{
			Endpoints: a.config.Endpoints, Connected: connected, Revision: a.known.revision(), Since: a.known.connectedSince(),
		},
		Networks: len(a.known.networks()),
	}
}
