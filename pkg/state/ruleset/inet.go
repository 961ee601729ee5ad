package ruleset

import (
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/state/nftable"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The chains of the table inet fairway. docs/nftables.md shows them with all their rules.
const (
	chainForward     = "forward"
	chainICC         = "icc"
	chainMasquerade  = "postrouting"
	chainVXLANInput  = "vxlan_input"
	chainVXLANSource = "vxlan_source"
	chainUnreadable  = "vxlan_unreadable"
	chainOwnSource   = "overlay_source"
	chainVXLANOutput = "vxlan_output"
	chainEncrypted   = "encrypted"
	chainUntracked   = "vxlan_untracked"
	chainUntrackedIn = "vxlan_untracked_in"
)

// InetTable is the table of everything that is routed.
func InetTable() *nftables.Table {
	return &nftables.Table{Name: "fairway", Family: nftables.TableFamilyINet}
}

var any4, any6 = netip.IPv4Unspecified(), netip.IPv6Unspecified()

// inetLayout is the table without what only networks that masquerade need: a chain that translates addresses has the kernel track all
// connections of the host, which costs every packet.
func inetLayout() layout {
	return layout{
		table:  InetTable(),
		sets:   slices.Concat(isolationSets(), overlaySets(), encryptionSets(), masqueradeMaps()),
		typeof: append(vxlanSets(), refusedSet()),
		chains: []chain{
			forwardChain(), iccChain(), inputChain(), sourceChain(), unreadableChain(), ownSourceChain(), outputChain(), encryptedChain(),
			untrackedChain(chainUntracked, nftables.ChainHookOutput), untrackedChain(chainUntrackedIn, nftables.ChainHookPrerouting),
		},
	}
}

// forwardChain says what the host forwards between networks. What it accepts, other tables may still drop.
func forwardChain() chain {
	bridges, isolated, internal := linkSet(InetTable(), bridgesSet), linkSet(InetTable(), "isolated"), linkSet(InetTable(), "internal")
	overlays, closed, overlaysInternal := groupSet("overlays"), groupSet("overlays_isolated"), groupSet("overlays_internal")
	c := filterChain(chainForward, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	c.rules = append([]rule{
		refused(),
		{"no container sends VXLAN packets of a network of this host", nftable.Match(vxlanPacket(), []expr.Any{lookup(portReg, vniSet().Set)}, drop())},
	}, append(unreadable(),
		rule{"frames between ports of a bridge come here with br_netfilter", nftable.Match(inOut(withinSet()), accept())},
		rule{"within an overlay network", nftable.Match(inOut(overlayWithin()), accept())},
		rule{"nothing leaves an internal bridge", nftable.Match(in(internal), drop())},
		rule{"nothing enters an internal bridge", nftable.Match(out(internal), drop())},
		rule{"nothing leaves an internal overlay network", nftable.Match(in(overlaysInternal), drop())},
		rule{"nothing enters an internal overlay network", nftable.Match(out(overlaysInternal), drop())},
		rule{"from an isolated bridge to another network", nftable.Match(in(isolated), out(bridges), drop())},
		rule{"from an isolated bridge to an overlay network", nftable.Match(in(isolated), out(overlays), drop())},
		rule{"from an overlay network to a bridge, unless it is open", nftable.Match(in(closed), out(bridges), drop())},
		rule{"from an overlay network to another, unless it is open", nftable.Match(in(closed), out(overlays), drop())},
		rule{"to an isolated bridge from another network", nftable.Match(out(isolated), in(bridges), drop())},
		rule{"to an isolated bridge from an overlay network", nftable.Match(out(isolated), in(overlays), drop())},
		rule{"to an overlay network from a bridge, unless it is open", nftable.Match(out(closed), in(bridges), drop())},
		rule{"to an overlay network from another, unless it is open", nftable.Match(out(closed), in(overlays), drop())},
	)...)
	return c
}

// iccChain is where it is because frames between two ports of a bridge, which br_netfilter shows as well, have no link there
// that they come by (br_nf_post_routing). The isolated flag of the ports is for these.
func iccChain() chain {
	c := filterChain(chainICC, nftables.ChainHookPostrouting, nftables.ChainPriorityFilter)
	// What the host itself sends of neighbour and listener discovery has its link as the one that it comes by (ip6_output).
	hopLimit := &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 7, Len: 1, DestRegister: firstReg}
	begin := &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 8, Len: 2, DestRegister: firstReg}
	c.rules = []rule{
		{"what the host routes has lost a hop", nftable.Match(nftable.Family(any6), []expr.Any{hopLimit, equals(firstReg, []byte{255})}, accept())},
		{"link-local addresses are not routed", nftable.Match(nftable.Family(any6),
			[]expr.Any{begin, masked(firstReg, []byte{0xff, 0xc0}, 2), equals(firstReg, []byte{0xfe, 0x80})}, accept())},
		{"icc false: nor by way of the host", nftable.Match(inOut(iccSet()), drop())},
	}
	return c
}

func masqueradeChain() chain {
	return chain{
		Chain: &nftables.Chain{
			Table: InetTable(), Name: chainMasquerade, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		},
		rules: []rule{
			{"by link and address of the container", masqueradeBy(any4)},
			{"by link and address of the container", masqueradeBy(any6)},
		},
	}
}

// inputChain looks at VXLAN packets to this host: VXLAN has no authentication (RFC 7348, 7).
func inputChain() chain {
	c := filterChain(chainVXLANInput, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	c.rules = append([]rule{
		refused(),
		{"packets of networks of this host", nftable.Match(vxlanPacket(), []expr.Any{lookup(portReg, vniSet().Set)}, nftable.Jump(chainVXLANSource))},
	}, unreadable()...)
	return c
}

func sourceChain() chain {
	return chain{
		Chain: &nftables.Chain{Table: InetTable(), Name: chainVXLANSource},
		rules: []rule{
			{"no peer is on this host", nftable.Match([]expr.Any{
				meta(expr.MetaKeyIIFTYPE, firstReg), equals(firstReg, binaryutil.NativeEndian.PutUint16(unix.ARPHRD_LOOPBACK)),
			}, drop())},
			{"the source is no peer of the network", strangers(any4)},
			{"the source is no peer of the network", strangers(any6)},
			{"the peer is not reached by the link that it came by", nftable.Match(noWayBack(), drop())},
		},
	}
}

// unreadable leads first fragments of UDP to chainUnreadable: whoever cuts a packet before the VNI wants no filter to see
// it. Without its first fragment, no packet is put together again.
func unreadable() []rule {
	return []rule{
		{"the first fragment of a packet", nftable.Match(nftable.Family(any4), udp(), []expr.Any{
			&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 6, Len: 2, DestRegister: firstReg}, // RFC 791: flags, offset
			masked(firstReg, []byte{0x3f, 0xff}, 2), equals(firstReg, []byte{0x20, 0}),
		}, nftable.Jump(chainUnreadable))},
		{"the first fragment of a packet", nftable.Match(nftable.Family(any6), udp(), []expr.Any{
			// RFC 8200, 4.5. In one comparison, nft would print less than there is.
			&expr.Exthdr{Type: unix.IPPROTO_FRAGMENT, Offset: 2, Len: 2, DestRegister: firstReg},
			masked(firstReg, []byte{0xff, 0xf8}, 2), equals(firstReg, []byte{0, 0}), // offset
			&expr.Exthdr{Type: unix.IPPROTO_FRAGMENT, Offset: 3, Len: 1, DestRegister: firstReg},
			masked(firstReg, []byte{1}, 1), equals(firstReg, []byte{1}), // more fragments
		}, nftable.Jump(chainUnreadable))},
	}
}

func unreadableChain() chain {
	return chain{
		Chain: &nftables.Chain{Table: InetTable(), Name: chainUnreadable},
		rules: []rule{
			{"the header is all there", nftable.Match([]expr.Any{
				vni(firstReg), masked(firstReg, make([]byte, vniLen), vniLen), equals(firstReg, make([]byte, vniLen)),
			}, returns())},
			{"too short for a network's identifier to be seen", drop()},
		},
	}
}

// ownSourceChain keeps the containers of overlay networks to their own addresses: the host's route to an address leads to
// the container that has it. The device is spared, as hosts send from whatever address they have.
func ownSourceChain() chain {
	c := filterChain(chainOwnSource, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	c.rules = append([]rule{
		{"a container of an overlay network has its own addresses", nftable.Match(in(groupSet("overlays")), inKind("veth"), noWayBack(), drop())},
	}, encryptedSource()...)
	return c
}

// untrackedChain keeps VXLAN packets of networks of this host out of conntrack. Each flow between containers has a source port of its own
// (RFC 7348, 5) and no reply from the other side's: a few busy peers would fill the host's table with entries that serve nobody.
func untrackedChain(name string, hook *nftables.ChainHook) chain {
	c := filterChain(name, hook, nftables.ChainPriorityRaw)
	c.rules = []rule{
		{"no connection is to be seen by ports of VXLAN", nftable.Match(vxlanPacket(), []expr.Any{lookup(portReg, vniSet().Set)}, []expr.Any{&expr.Notrack{}})},
	}
	return c
}

func filterChain(name string, hook *nftables.ChainHook, priority *nftables.ChainPriority) chain {
	return chain{Chain: &nftables.Chain{Table: InetTable(), Name: name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: priority}}
}

// portReg and the next hold the key of vniSet; an address may follow.
const portReg = unix.NFT_REG32_00

// vxlanPacket loads the key of vniSet. The rule ends where a packet has none.
func vxlanPacket() []expr.Any {
	return append(udp(),
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, DestRegister: portReg},
		vni(portReg+1))
}

// vni loads the VNI, three bytes of a VXLAN header (RFC 7348, 5) behind that of UDP.
func vni(register uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: vniOffset, Len: vniLen, DestRegister: register}
}

// Where the VNI lies in a UDP packet, in bytes.
const (
	vniOffset = 8 + 4
	vniLen    = 3
)

// strangers drops a packet of a network in vniSet from an address that is not in the set of its peers.
func strangers(of netip.Addr) []expr.Any {
	return nftable.Match(nftable.Family(of), vxlanPacket(), []expr.Any{nftable.Source(of, portReg+2), missing(portReg, peerSet(of).Set)}, drop())
}
