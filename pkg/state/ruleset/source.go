package ruleset

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// SourceFilter drops packets of an overlay network that come from a host which is no peer: VXLAN has no authentication
// (RFC 7348, 7). Packets of other networks pass, whoever made these.
type SourceFilter struct {
	Network string
	VNI     uint32
	Port    uint16
	// Sources are the VTEPs of the peers.
	Sources []netip.Addr
}

var _ state.Readier = SourceFilter{}

func (f SourceFilter) String() string {
	mark := binary.NativeEndian.Uint32(vniWord(f.VNI))
	lines := []string{fmt.Sprintf("nft add element inet fairway vxlan { %d . %#x }", f.Port, mark)}
	for _, addr := range f.Sources {
		lines = append(lines, fmt.Sprintf("nft add element inet fairway %s { %d . %#x . %s }", sourceSet(addr).Name, f.Port, mark, addr))
	}
	return strings.Join(lines, " && ")
}

// Ensure adds the network and its peers, and takes others out. It says that it created nothing, as PeerTable does.
func (f SourceFilter) Ensure(k *kernel.Kernel) (bool, error) {
	if err := f.tagged().ensure(k); err != nil {
		return false, fmt.Errorf("source filter of network %s: %w", f.Network, err)
	}
	return false, nil
}

// Ready says whether nftables can be used.
func (SourceFilter) Ready(k *kernel.Kernel) error { return NftReady(k) }

// Verify looks for the network, its peers, and the rules that use them.
func (f SourceFilter) Verify(k *kernel.Kernel) error { return f.tagged().verify(k) }

// Remove takes the network and its peers out.
func (f SourceFilter) Remove(k *kernel.Kernel) error { return f.tagged().remove(k) }

func (f SourceFilter) tagged() tagged {
	tag := state.OverlayTag(f.Network)
	network := binary.BigEndian.AppendUint16(nil, f.Port)
	network = append(network, 0, 0) // each part of a concatenation is filled up to a multiple of four bytes
	network = append(network, vniWord(f.VNI)...)
	elements := make([]kernel.Element, 0, 1+len(f.Sources))
	elements = append(elements, kernel.Element{Set: vxlanSet(), Key: network, Comment: tag})
	keys := make([]byte, 0, len(f.Sources)*(len(network)+net.IPv6len)) // of all, as one piece of memory
	set4, set6 := sourceSet(netip.IPv4Unspecified()), sourceSet(netip.IPv6Unspecified())
	for _, addr := range f.Sources {
		set := set4
		if addr.Is6() {
			set = set6
		}
		from := len(keys)
		keys = append(append(keys, network...), addr.AsSlice()...)
		elements = append(elements, kernel.Element{Set: set, Key: keys[from:len(keys):len(keys)], Comment: tag})
	}
	return tagged{layout: sourceLayout(), tag: tag, elements: elements}
}

// vniWord is the second word of a VXLAN header (RFC 7348, 5): the VNI, and a reserved byte.
func vniWord(vni uint32) []byte { return binary.BigEndian.AppendUint32(nil, vni<<8) }

// vxlanSet is the networks whose packets are looked at: UDP port and second word of the VXLAN header. nft has no type for
// the latter, and shows it as a mark in the byte order of the host.
func vxlanSet() *nftables.Set {
	return &nftables.Set{
		Table: InetTable(), Name: "vxlan", Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetService, nftables.TypeMark),
	}
}

// sourceSet is the peers of these networks, those of one family.
func sourceSet(addr netip.Addr) *nftables.Set {
	name, kind := "vxlan_peers4", nftables.TypeIPAddr
	if addr.Is6() {
		name, kind = "vxlan_peers6", nftables.TypeIP6Addr
	}
	return &nftables.Set{
		Table: InetTable(), Name: name, Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetService, nftables.TypeMark, kind),
	}
}

// sourceLayout has one rule for each family, however many networks and peers there are.
func sourceLayout() layout {
	v4, v6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	return layout{
		sets: []*nftables.Set{vxlanSet(), sourceSet(v4), sourceSet(v6)},
		chains: []chain{{
			Chain: &nftables.Chain{
				Table: InetTable(), Name: "vxlan_input", Type: nftables.ChainTypeFilter,
				Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
			},
			rules: [][]expr.Any{dropStrangers(v4), dropStrangers(v6)},
		}},
	}
}

// dropStrangers drops a VXLAN packet of a network in the set from an address that is not in the set of its peers.
func dropStrangers(any netip.Addr) []expr.Any {
	offset, length := uint32(12), uint32(4) // the source address, RFC 791
	if any.Is6() {
		offset, length = 8, 16 // RFC 8200
	}
	// The kernel's registers of four bytes: port, VNI, and the address behind them.
	port, vni, source := uint32(unix.NFT_REG32_00), uint32(unix.NFT_REG32_01), uint32(unix.NFT_REG32_02)
	return append(family(any),
		meta(expr.MetaKeyL4PROTO, firstReg),
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstReg, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, DestRegister: port},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 8 + 4, Len: 4, DestRegister: vni},
		// The reserved byte is ignored by receivers.
		&expr.Bitwise{SourceRegister: vni, DestRegister: vni, Len: 4, Mask: []byte{0xff, 0xff, 0xff, 0}, Xor: make([]byte, 4)},
		&expr.Lookup{SourceRegister: port, SetName: vxlanSet().Name},
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length, DestRegister: source},
		&expr.Lookup{SourceRegister: port, SetName: sourceSet(any).Name, Invert: true},
		drop())
}
