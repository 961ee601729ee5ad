package agent

import (
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// snapshot is what this host has of a network. On disk, it is two documents with keys of the agent's beside: a small one for the
// plugin, and one with all hosts. So the plugin works without the agent, and the agent without etcd.
type snapshot struct {
	definition agentapi.Network
	// created tells networks of one name apart: etcd's revision.
	created int64
	// hosts has this host's entry first; no entry at all while it is no member.
	hosts overlay.Hosts
	// mtu is the least of the members' underlays, 0 when none is known.
	mtu int
	// pins are this host's, as etcd has them.
	pins     map[netip.Addr]registry.Pin
	revision int64
}

// agentKeys are the agent's own in the documents.
type agentKeys struct {
	Definition agentapi.Network            `json:"definition"`
	Created    int64                       `json:"created"`
	OwnPins    map[netip.Addr]registry.Pin `json:"ownPins,omitempty"`
}

// outside is what a host has of a network that it is no member of.
func outside(n agentapi.Network, created int64, vtep netip.Addr) snapshot {
	return snapshot{definition: n, created: created, hosts: overlay.Hosts{Self: vtep}}
}

// network is the model of the network.
func (s snapshot) network() overlay.Network { return model(s.definition) }

func model(n agentapi.Network) overlay.Network {
	m := overlay.Network{
		Name: n.Name, VNI: n.VNI, MTU: n.MTU, Port: overlay.DefaultPort, Internal: n.Internal, IPMasq: n.IPMasq,
		Encrypted: n.Encrypted, WireguardPort: n.WireguardPort,
	}
	for _, s := range n.Subnets {
		m.Subnets = append(m.Subnets, s.Prefix)
	}
	return m
}

// own is this host's entry.
func (s snapshot) own() overlay.Peer {
	if own, err := s.hosts.Own(nil); err == nil && s.hosts.Self.IsValid() {
		return own
	}
	return overlay.Peer{VTEP: s.hosts.Self} // no entry: no block
}

// member says whether the host is one.
func (s snapshot) member() bool { return len(s.hosts.Peers) > 0 }

// in are the blocks of a subnet.
func in(subnet netip.Prefix, blocks []netip.Prefix) (list []netip.Prefix) {
	for _, b := range blocks {
		if subnet.Overlaps(b) {
			list = append(list, b)
		}
	}
	return list
}

// equal compares all but the revision.
func (s snapshot) equal(other snapshot) bool {
	return s.created == other.created && s.mtu == other.mtu && s.definition.Same(other.definition) && s.hosts.Self == other.hosts.Self &&
		slices.Equal(s.hosts.Pins, other.hosts.Pins) && maps.Equal(s.pins, other.pins) &&
		slices.EqualFunc(s.hosts.Peers, other.hosts.Peers, func(a, b overlay.Peer) bool {
			return a.Node == b.Node && a.VTEP == b.VTEP && a.Key == b.Key && a.NextKey == b.NextKey && a.Spare == b.Spare && slices.Equal(a.Blocks, b.Blocks)
		})
}

// differing are this snapshot and the one after it with the peers alone that are not the same in both, beside this host; both whole
// where more than peers differs, or a tunnel has to know all.
func (s snapshot) differing(after snapshot) (was, now snapshot) {
	if s.definition.Encrypted || !slices.Equal(s.hosts.Pins, after.hosts.Pins) || !s.member() || !after.member() {
		return s, after
	}
	same := make(map[netip.Addr]bool, len(s.hosts.Peers))
	blocks := make(map[netip.Addr][]netip.Prefix, len(s.hosts.Peers))
	for _, p := range s.hosts.Peers[1:] {
		blocks[p.VTEP] = p.Blocks
	}
	for _, p := range after.hosts.Peers[1:] {
		had, there := blocks[p.VTEP]
		same[p.VTEP] = there && slices.Equal(had, p.Blocks)
	}
	return s.without(same), after.without(same)
}

// without leaves out peers, but not this host.
func (s snapshot) without(peers map[netip.Addr]bool) snapshot {
	all := s.hosts
	s.hosts.Peers, s.hosts.Pins = nil, nil
	for i, p := range all.Peers {
		if i == 0 || !peers[p.VTEP] {
			s.hosts.Peers = append(s.hosts.Peers, p)
		}
	}
	for _, pin := range all.Pins {
		if pin.VTEP == all.Self || !peers[pin.VTEP] {
			s.hosts.Pins = append(s.hosts.Pins, pin)
		}
	}
	return s
}

// at is the snapshot as this host has it with another address on the underlay. A peer that had the address is left out, and
// so are all of the other family.
func (s snapshot) at(vtep netip.Addr) snapshot {
	if !vtep.IsValid() || vtep == s.hosts.Self {
		return s
	}
	moved := s
	moved.hosts = overlay.Hosts{Self: vtep}
	known := make(map[netip.Addr]bool)
	for _, p := range s.hosts.Peers {
		if p.VTEP == s.hosts.Self {
			p.VTEP = vtep
		} else if p.VTEP == vtep || p.VTEP.Is4() != vtep.Is4() {
			continue
		}
		moved.hosts.Peers = append(moved.hosts.Peers, p)
		known[p.VTEP] = true
	}
	for _, p := range s.hosts.Pins {
		if p.VTEP == s.hosts.Self {
			p.VTEP = vtep
		} else if p.VTEP == vtep || !known[p.VTEP] {
			continue
		}
		moved.hosts.Pins = append(moved.hosts.Pins, p)
	}
	return moved
}

// full is the document with all hosts.
func (s snapshot) full() ([]byte, error) {
	network := s.network()
	return s.encode(overlay.Document{Network: &network, Hosts: s.hosts, Revision: s.revision, UnderlayMTU: s.mtu})
}

// forPlugin is the document of what an attachment needs, whatever number of hosts there are: the blocks that it may have an
// address of, the pins in them, and this host's.
func (s snapshot) forPlugin(offered []netip.Prefix, full, confirmed string) ([]byte, error) {
	network, own := s.network(), s.own()
	d := overlay.Document{
		Network: &network, Partial: true, Full: full, Confirmed: confirmed, UnderlayMTU: s.mtu,
		Hosts: overlay.Hosts{Self: s.hosts.Self, Peers: []overlay.Peer{}},
	}
	if s.member() {
		d.Peers = []overlay.Peer{own}
	}
	for _, block := range own.Blocks {
		if !slices.Contains(offered, block) {
			d.Withheld = append(d.Withheld, block)
		}
	}
	for _, p := range s.hosts.Pins {
		if p.VTEP == own.VTEP {
			d.Pins = append(d.Pins, p)
		}
	}
	d.Revision = max(1, s.created)
	return s.encode(d)
}

// encode writes a document and the agent's keys as one JSON object.
func (s snapshot) encode(d overlay.Document) ([]byte, error) {
	own, err := json.Marshal(agentKeys{Definition: s.definition, Created: s.created, OwnPins: s.pins})
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(string(d.Encode()), "\n}") + "," + strings.TrimPrefix(string(own), "{")
	return []byte(text + "\n"), nil
}

func decodeSnapshot(data []byte) (snapshot, error) {
	document, err := overlay.Decode(data)
	if err != nil {
		return snapshot{}, err
	}
	var own agentKeys
	if err := json.Unmarshal(data, &own); err != nil {
		return snapshot{}, err
	}
	if document.Network == nil || own.Definition.Name != document.Network.Name || own.Created == 0 {
		return snapshot{}, errors.New("keys are missing")
	}
	s := snapshot{
		definition: own.Definition, created: own.Created, hosts: document.Hosts, mtu: document.UnderlayMTU, pins: own.OwnPins, revision: document.Revision,
	}
	self := slices.IndexFunc(s.hosts.Peers, func(p overlay.Peer) bool { return p.VTEP == s.hosts.Self })
	if self > 0 { // a former release wrote it last
		own := s.hosts.Peers[self]
		s.hosts.Peers = slices.Insert(slices.Delete(s.hosts.Peers, self, self+1), 0, own)
	}
	if len(s.hosts.Peers) == 0 {
		s.hosts.Peers = nil
	}
	return s, nil
}
