package ruleset

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// SourceFilter drops packets of an overlay network that come from a host which is no peer, or not by the way to it, and those
// that containers make and the host would forward: VXLAN has no authentication (RFC 7348, 7). Packets of networks that the
// host does not have pass, whoever made these. Those of networks that it has are not tracked as connections.
type SourceFilter struct {
	Network string
	VNI     uint32
	Port    uint16
	// Sources are the VTEPs of the peers.
	Sources []netip.Addr
	// Partial leaves sources alone that are not listed.
	Partial bool
}

var _ state.Readier = SourceFilter{}

func (f SourceFilter) String() string {
	lines := []string{fmt.Sprintf("nft add element inet fairway %s { %d . %d }", vniSet().Name, f.Port, f.VNI)}
	for _, addr := range f.Sources {
		lines = append(lines, fmt.Sprintf("nft add element inet fairway %s { %d . %d . %s }", peerSet(addr).Name, f.Port, f.VNI, addr))
	}
	return strings.Join(lines, " && ")
}

// Ensure adds the network and its peers, and takes others out. It says that it created nothing, as PeerTable does.
func (f SourceFilter) Ensure(k *kernel.Kernel) (bool, error) {
	if err := f.declared().ensure(k); err != nil {
		return false, fmt.Errorf("source filter of network %s: %w", f.Network, err)
	}
	return false, nil
}

// Ready says whether nftables can be used.
func (SourceFilter) Ready(k *kernel.Kernel) error { return nftable.Ready(k) }

// Verify looks for the network, its peers, and the rules that use them.
func (f SourceFilter) Verify(k *kernel.Kernel) error { return f.declared().verify(k) }

// Remove takes the network and its peers out.
func (f SourceFilter) Remove(k *kernel.Kernel) error { return f.declared().remove(k) }

func (f SourceFilter) declared() declared {
	tag := state.OverlayTag(f.Network)
	// Each part of a concatenation is filled up to a multiple of four bytes.
	network := append(binary.BigEndian.AppendUint16(nil, f.Port), 0, 0)
	network = binary.BigEndian.AppendUint32(network, f.VNI<<8)
	elements := make([]kernel.Element, 0, 1+len(f.Sources))
	elements = append(elements, kernel.Element{Set: vniSet().Set, Key: network, Comment: tag})
	keys := make([]byte, 0, len(f.Sources)*(len(network)+net.IPv6len)) // of all, as one piece of memory
	set4, set6 := peerSet(any4).Set, peerSet(any6).Set
	for _, addr := range f.Sources {
		set := set4
		if addr.Is6() {
			set = set6
		}
		from := len(keys)
		keys = append(append(keys, network...), addr.AsSlice()...)
		elements = append(elements, kernel.Element{Set: set, Key: keys[from:len(keys):len(keys)], Comment: tag})
	}
	return declared{
		sets: []*nftables.Set{elements[0].Set, set4, set6}, elements: elements,
		chains: []string{chainForward, chainVXLANInput, chainVXLANSource, chainUnreadable, chainUntracked, chainUntrackedIn},
		own:    func(e kernel.Element) bool { return e.Comment == tag }, tag: tag, partial: f.Partial,
	}
}

// vniSet is the networks whose packets are looked at: UDP port and VNI, as nft writes `udp dport . @th,96,24`.
func vniSet() kernel.TypeofSet {
	return kernel.TypeofSet{
		Set: &nftables.Set{
			Table: InetTable(), Name: "vnis", Comment: why["vnis"], Concatenation: true,
			KeyType: nftables.MustConcatSetType(nftables.TypeInetService, nftables.TypeInteger),
		},
		Key: []kernel.PayloadOf{kernel.UDPDestinationPort, {Raw: true, Offset: vniOffset * 8, Length: vniLen * 8}},
	}
}

// peerSet is the peers of these networks, those of one family.
func peerSet(of netip.Addr) kernel.TypeofSet {
	set := vniSet()
	name, kind, field := "peers4", nftables.TypeIPAddr, kernel.IPSource
	if of.Is6() {
		name, kind, field = "peers6", nftables.TypeIP6Addr, kernel.IP6Source
	}
	set.Name, set.Comment, set.Key = name, why[name], append(set.Key, field)
	set.KeyType = nftables.MustConcatSetType(nftables.TypeInetService, nftables.TypeInteger, kind)
	return set
}

func vxlanSets() []kernel.TypeofSet {
	return []kernel.TypeofSet{vniSet(), peerSet(any4), peerSet(any6)}
}

// Stands says whether the network's packets are looked at and the rules are there: a look that costs next to nothing.
func (f SourceFilter) Stands(k *kernel.Kernel) (bool, error) { return f.declared().stands(k, 1) }

// TunnelPorts are the UDP ports at which packets of VXLAN are looked at, those of encrypted networks too.
func TunnelPorts(k *kernel.Kernel) (ports []uint16, err error) {
	for _, set := range []kernel.TypeofSet{vniSet(), refusedSet()} {
		elements, err := nftable.ElementsOf(k, set.Set)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			ports = append(ports, binary.BigEndian.Uint16(e.Key))
		}
	}
	return ports, nil
}
