package hostlocal

import (
	"net/netip"
	"strings"
)

// parseAddr reads an address. An IPv4 address in IPv6 notation is IPv4, as upstream has it.
func parseAddr(key, text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, invalidf("%s %q is not an IP address: write one like 10.1.0.5 or fd00::5", key, text)
	}
	return a.Unmap(), nil
}

// parseRequest reads an address that may carry a prefix length, which counts
// for nothing: the subnet's is used.
func parseRequest(key, text string) (netip.Addr, error) {
	if !strings.Contains(text, "/") {
		return parseAddr(key, text)
	}
	p, err := parsePrefix(text)
	if err != nil {
		return netip.Addr{}, invalidf("%s %q is not an IP address with a prefix length: write one like 10.1.0.5/24", key, text)
	}
	return p.Addr().Unmap(), nil
}

// parsePrefix allows for zeros before the length, as upstream does.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, length, ok := strings.Cut(text, "/"); ok && len(length) > 1 && length[0] == '0' {
		text = addr + "/" + max(strings.TrimLeft(length, "0"), "0")
	}
	return netip.ParsePrefix(text)
}

func parseSubnet(key, text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, invalidf("%s is missing: add a subnet like 10.1.0.0/24", key)
	}
	p, err := parsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, invalidf("%s %q is not a subnet: write one like 10.1.0.0/24 or fd00::/64", key, text)
	}
	if p != p.Masked() {
		return netip.Prefix{}, invalidf("%s %s has host bits set: write %s", key, p, p.Masked())
	}
	return p, nil
}

// parseAddrOf reads an address that has to lie in the subnet beside it.
func parseAddrOf(subnet netip.Prefix, key, text string) (netip.Addr, error) {
	a, err := parseAddr(key, text)
	if err != nil {
		return netip.Addr{}, err
	}
	if !subnet.Contains(a) {
		return netip.Addr{}, invalidf("%s %s lies outside its subnet %s: choose an address of the subnet, or leave it out", key, a, subnet)
	}
	return a, nil
}

// parseGateway reads an address that may lie anywhere, as that of a router does which is reached by its link-local address.
func parseGateway(_ netip.Prefix, key, text string) (netip.Addr, error) { return parseAddr(key, text) }

// DefaultRange is what a subnet without rangeStart and rangeEnd stands for. It
// leaves out the network address (in IPv6: the anycast address of the routers,
// RFC 4291 section 2.6.1) and the IPv4 broadcast address. A subnet of two
// addresses has neither (RFC 3021, RFC 6164), one of a single address has no
// gateway either.
func DefaultRange(subnet netip.Prefix) Range {
	network, last := subnet.Addr(), LastAddr(subnet)
	switch subnet.Addr().BitLen() - subnet.Bits() {
	case 0:
		return Range{Subnet: subnet, Start: network, End: network}
	case 1:
		return Range{Subnet: subnet, Start: network, End: last, Gateway: last}
	}
	if last.Is4() {
		last = last.Prev()
	}
	return Range{Subnet: subnet, Start: network.Next(), End: last, Gateway: network.Next()}
}

// LastAddr is the highest address of a subnet; in IPv4, that of broadcast.
func LastAddr(subnet netip.Prefix) netip.Addr {
	b := subnet.Addr().AsSlice()
	for i := range b {
		hostBits := min(max((i+1)*8-subnet.Bits(), 0), 8)
		b[i] |= byte(1<<hostBits - 1)
	}
	last, _ := netip.AddrFromSlice(b) // the length is that of an address
	return last
}
