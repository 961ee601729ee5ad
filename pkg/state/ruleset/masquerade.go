package ruleset

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// Masquerade gives packets from a container to the outside of its subnet the host's address, except multicast.
//
// A map leads from the link by which the packets come and the container's address to a chain for its subnet, so that a packet
// meets the same three rules however many containers there are, and networks may have the same subnet. The map's elements
// carry the owner.
type Masquerade struct {
	Owner state.Owner
	// Link is where the host takes the container's packets: the bridge, its interface in a VLAN, or the host's end of a veth.
	Link string
	// Prefixes are the container's addresses with the length of their subnets.
	Prefixes []netip.Prefix
	// Off declares that these addresses are not masqueraded: an earlier holder may have been.
	Off bool
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
		line := fmt.Sprintf("nft add element inet fairway %s { %s . %s : jump %s }",
			masqueradeMap(p.Addr()).Name, m.Link, p.Addr(), subnetChainName(p))
		if m.Off {
			line = fmt.Sprintf("# no element %s . %s in nftables map inet fairway %s", m.Link, p.Addr(), masqueradeMap(p.Addr()).Name)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, " && ")
}

// Ensure adds the container's elements in one transaction.
func (m Masquerade) Ensure(k *kernel.Kernel) (bool, error) {
	if len(m.Prefixes) == 0 {
		return false, nil
	}
	if m.Off {
		return false, removeHeld(k, m.elements())
	}
	stands, err := allStanding(k, InetTable(), m.chains())
	if err == nil && !stands {
		err = build(k, m.layout())
	}
	if err == nil {
		err = put(k, m.layout, m.elements())
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", m, nftable.Unsupported(err))
	}
	return true, nil
}

// removeHeld deletes those of some elements that are there, whosever they are.
func removeHeld(k *kernel.Kernel, elements []kernel.Element) error {
	var errs []error
	for _, e := range elements {
		held, err := nftable.LookUp(k, e)
		if err == nil && held.Key != nil {
			err = k.DeleteElements([]kernel.Element{held})
		}
		if errors.Is(err, unix.ENOENT) || nftable.Without(k, err) {
			err = nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// heldElements is drift for each of some elements that is there.
func heldElements(k *kernel.Kernel, elements []kernel.Element) error {
	var errs []error
	for _, e := range elements {
		held, err := nftable.LookUp(k, e)
		switch {
		case nftable.Without(k, err):
		case err != nil:
			errs = append(errs, err)
		case held.Key != nil:
			errs = append(errs, surplusElement(held))
		}
	}
	return errors.Join(errs...)
}

// Ready says whether nftables can be used.
func (m Masquerade) Ready(k *kernel.Kernel) error {
	if m.Off {
		return nil
	}
	return nftable.Ready(k)
}

// Verify looks for the container's elements and for the rules they lead to.
func (m Masquerade) Verify(k *kernel.Kernel) error {
	if m.Off {
		return heldElements(k, m.elements())
	}
	return errors.Join(verifyChains(k, InetTable(), m.chains()), verifyElements(k, m.elements()))
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
		if addr, ok := masqueradedAddress(e); ok {
			k.Later(func() error { return k.ForgetConnections(addr) })
		}
	}
	return err
}

// masqueradedAddress is the address in an element's key, behind the link's name.
func masqueradedAddress(e kernel.Element) (addr netip.Addr, ok bool) {
	if len(e.Key) < unix.IFNAMSIZ {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(e.Key[unix.IFNAMSIZ:])
}

func (m Masquerade) elements() []kernel.Element {
	var elements []kernel.Element
	for _, p := range m.Prefixes {
		elements = append(elements, kernel.Element{
			Set: masqueradeMap(p.Addr()), Key: append(nftable.IfName(m.Link), p.Addr().AsSlice()...),
			Jump: subnetChainName(p), Comment: m.Owner.Tag(),
		})
	}
	return elements
}

func masqueradeMap(addr netip.Addr) *nftables.Set {
	name, kind := "masquerade_from4", nftables.TypeIPAddr
	if addr.Is6() {
		name, kind = "masquerade_from6", nftables.TypeIP6Addr
	}
	return &nftables.Set{
		Table: InetTable(), Name: name, Comment: why[name], IsMap: true, Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, kind), DataType: nftables.TypeVerdict,
	}
}

func masqueradeMaps() []*nftables.Set {
	return []*nftables.Set{masqueradeMap(any4), masqueradeMap(any6)}
}

// chains are the hook that looks into the maps, and those of the container's subnets.
func (m Masquerade) chains() []string {
	names := []string{chainMasquerade}
	for _, p := range m.Prefixes {
		names = append(names, subnetChainName(p))
	}
	return names
}

// layout is that of the table, with the chain that translates addresses and one for each of the container's subnets.
func (m Masquerade) layout() layout {
	l := inetLayout().with(masqueradeChain())
	seen := make(map[string]bool)
	for _, p := range m.Prefixes {
		if name := subnetChainName(p); !seen[name] {
			seen[name] = true
			l.chains = append(l.chains, subnetChain(p))
		}
	}
	return l
}

func subnetChain(p netip.Prefix) chain {
	return chain{
		Chain: &nftables.Chain{Table: InetTable(), Name: subnetChainName(p)},
		rules: []rule{
			{"within the subnet", nftable.Match(nftable.Within(nftable.Destination, p.Masked()), returns())},
			{"answers to multicast go to its source", nftable.Match(nftable.Within(nftable.Destination, multicast(p.Addr())), returns())},
			{"to the outside with the host's address", []expr.Any{&expr.Masq{}}},
		},
	}
}

// subnetChainPrefix begins the names of the chains that pruneChains may delete.
const subnetChainPrefix = "subnet_"

// subnetChainName is the chain of a subnet. A colon is not allowed in the names nft reads.
func subnetChainName(p netip.Prefix) string {
	return subnetChainPrefix + strings.ReplaceAll(p.Masked().String(), ":", "_")
}

// masqueradeBy is `iifname . ip saddr vmap @masquerade_from4`, or the same for IPv6.
func masqueradeBy(of netip.Addr) []expr.Any {
	return nftable.Match(nftable.Family(of), []expr.Any{
		meta(expr.MetaKeyIIFNAME, firstReg), nftable.Source(of, wideReg(1)),
		&expr.Lookup{SourceRegister: firstReg, SetName: masqueradeMap(of).Name, DestRegister: verdictReg, IsDestRegSet: true},
	})
}

// multicast is the multicast range of an address's family (RFC 5771, RFC 4291).
func multicast(addr netip.Addr) netip.Prefix {
	if addr.Is6() {
		return netip.MustParsePrefix("ff00::/8")
	}
	return netip.MustParsePrefix("224.0.0.0/4")
}
