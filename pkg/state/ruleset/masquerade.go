package ruleset

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Masquerade gives packets from a container to the outside of its subnet the host's address, except multicast.
//
// A map leads from the container's address to a chain for its subnet, so that a packet meets the same three rules however
// many containers there are. The map's elements carry the owner.
type Masquerade struct {
	Owner state.Owner
	// Prefixes are the container's addresses with the length of their subnets.
	Prefixes []netip.Prefix
}

var (
	_ state.Rule    = Masquerade{}
	_ state.Readier = Masquerade{}
)

// Rule marks it as one that translates or filters packets.
func (Masquerade) Rule() {}

func (m Masquerade) String() string {
	var lines []string
	for _, p := range m.Prefixes {
		lines = append(lines, fmt.Sprintf("nft add element inet fairway %s { %s : jump %s }",
			masqueradeMap(p.Addr()).Name, p.Addr(), subnetChainName(p)))
	}
	return strings.Join(lines, " && ")
}

// Ensure adds the container's elements in one transaction.
func (m Masquerade) Ensure(k *kernel.Kernel) (bool, error) {
	if len(m.Prefixes) == 0 {
		return false, nil
	}
	if err := put(k, m.layout(), m.elements()); err != nil {
		return false, fmt.Errorf("%s: %w", m, err)
	}
	return true, nil
}

// Ready says whether nftables can be used.
func (Masquerade) Ready(k *kernel.Kernel) error { return NftReady(k) }

// Verify looks for the container's elements and for the rules they lead to.
func (m Masquerade) Verify(k *kernel.Kernel) error {
	return verifyElements(k, m.layout(), m.elements())
}

// Remove deletes the owner's elements, whatever addresses they have. The connections tracked for these go when the link
// has gone and no packet can begin new ones: another container may get the address, and would get their packets.
func (m Masquerade) Remove(k *kernel.Kernel) error {
	tag := m.Owner.Tag()
	return removeMasquerade(k, func(t string) bool { return t == tag })
}

func removeMasquerade(k *kernel.Kernel, stale func(tag string) bool) error {
	gone, err := removeElements(k, masqueradeMaps(), stale)
	for _, e := range gone {
		if addr, ok := netip.AddrFromSlice(e.Key); ok {
			k.Later(func() error { return k.ForgetConnections(addr) })
		}
	}
	return err
}

func (m Masquerade) elements() []kernel.Element {
	var elements []kernel.Element
	for _, p := range m.Prefixes {
		elements = append(elements, kernel.Element{
			Set: masqueradeMap(p.Addr()), Key: p.Addr().AsSlice(), Jump: subnetChainName(p), Comment: m.Owner.Tag(),
		})
	}
	return elements
}

func masqueradeMap(addr netip.Addr) *nftables.Set {
	set := &nftables.Set{
		Table: InetTable(), Name: "masquerade4", IsMap: true,
		KeyType: nftables.TypeIPAddr, DataType: nftables.TypeVerdict,
	}
	if addr.Is6() {
		set.Name, set.KeyType = "masquerade6", nftables.TypeIP6Addr
	}
	return set
}

func masqueradeMaps() []*nftables.Set {
	return []*nftables.Set{masqueradeMap(netip.IPv4Unspecified()), masqueradeMap(netip.IPv6Unspecified())}
}

// layout is the two maps, the hook that looks into them, and a chain for each of the container's subnets.
func (m Masquerade) layout() layout {
	l := layout{sets: masqueradeMaps(), chains: []chain{{
		Chain: &nftables.Chain{
			Table: InetTable(), Name: "postrouting", Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		},
		rules: [][]expr.Any{lookupSource(netip.IPv4Unspecified()), lookupSource(netip.IPv6Unspecified())},
	}}}
	seen := make(map[string]bool)
	for _, p := range m.Prefixes {
		if name := subnetChainName(p); !seen[name] {
			seen[name] = true
			l.chains = append(l.chains, chain{
				Chain: &nftables.Chain{Table: InetTable(), Name: name},
				rules: [][]expr.Any{returnTo(p.Masked()), returnTo(multicast(p.Addr())), {&expr.Masq{}}},
			})
		}
	}
	return l
}

// subnetChainPrefix begins the names of the chains that removeUnused may delete.
const subnetChainPrefix = "subnet_"

// subnetChainName is the chain of a subnet. A colon is not allowed in the names nft reads.
func subnetChainName(p netip.Prefix) string {
	return subnetChainPrefix + strings.ReplaceAll(p.Masked().String(), ":", "_")
}

// lookupSource is `ip saddr vmap @masquerade4`, or the same for IPv6.
func lookupSource(any netip.Addr) []expr.Any {
	offset, length := uint32(12), uint32(net.IPv4len) // RFC 791
	if any.Is6() {
		offset, length = 8, net.IPv6len // RFC 8200
	}
	return append(family(any),
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length, DestRegister: firstReg},
		&expr.Lookup{SourceRegister: firstReg, SetName: masqueradeMap(any).Name, DestRegister: verdictReg, IsDestRegSet: true})
}

// returnTo is `ip daddr PREFIX return`, or the same for IPv6.
func returnTo(p netip.Prefix) []expr.Any {
	offset, length := uint32(16), uint32(net.IPv4len) // RFC 791
	if p.Addr().Is6() {
		offset, length = 24, net.IPv6len // RFC 8200
	}
	mask := net.CIDRMask(p.Bits(), p.Addr().BitLen())
	return append(family(p.Addr()),
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length, DestRegister: firstReg},
		&expr.Bitwise{SourceRegister: firstReg, DestRegister: firstReg, Len: length, Mask: mask, Xor: make([]byte, length)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstReg, Data: p.Addr().AsSlice()},
		&expr.Verdict{Kind: expr.VerdictReturn})
}

// multicast is the multicast range of an address's family (RFC 5771, RFC 4291).
func multicast(addr netip.Addr) netip.Prefix {
	if addr.Is6() {
		return netip.MustParsePrefix("ff00::/8")
	}
	return netip.MustParsePrefix("224.0.0.0/4")
}
