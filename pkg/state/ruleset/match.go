package ruleset

import (
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers of an nftables rule: the verdict, and the first of sixteen bytes, which a concatenation goes on from.
const (
	verdictReg = 0
	firstReg   = 1
)

// wideReg is the n-th register of sixteen bytes, counted from 0.
func wideReg(n uint32) uint32 { return unix.NFT_REG_1 + n }

// narrowReg is the n-th register of four bytes; four of these are a wide one.
func narrowReg(n uint32) uint32 { return unix.NFT_REG32_00 + n }

// match is the conditions of a rule and its verdict, one after the other.
func match(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func meta(key expr.MetaKey, register uint32) expr.Any {
	return &expr.Meta{Key: key, Register: register}
}

// metaIIFKIND is the kind of link that a packet came by (linux/netfilter/nf_tables.h, NFT_META_IIFKIND, Linux 5.6), which
// the library has no name for.
const metaIIFKIND expr.MetaKey = 26

func equals(register uint32, data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: data}
}

// in, out and their pair look up the links that a packet comes and goes by, by name or by device group.
func in(set *nftables.Set) []expr.Any {
	return []expr.Any{meta(linkKeys(set)[0], firstReg), lookup(firstReg, set)}
}

func out(set *nftables.Set) []expr.Any {
	return []expr.Any{meta(linkKeys(set)[1], firstReg), lookup(firstReg, set)}
}

func inOut(set *nftables.Set) []expr.Any {
	keys := linkKeys(set)
	second := narrowReg(1)
	if keys[0] == expr.MetaKeyIIFNAME {
		second = wideReg(1) // a name fills sixteen bytes
	}
	return []expr.Any{meta(keys[0], firstReg), meta(keys[1], second), lookup(firstReg, set)}
}

// linkKeys is what a set's links are told by: their names, or their groups.
func linkKeys(set *nftables.Set) [2]expr.MetaKey {
	if set.KeyType.Bytes%unix.IFNAMSIZ == 0 {
		return [2]expr.MetaKey{expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME}
	}
	return [2]expr.MetaKey{expr.MetaKeyIIFGROUP, expr.MetaKeyOIFGROUP}
}

func lookup(register uint32, set *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: register, SetName: set.Name}
}

func missing(register uint32, set *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: register, SetName: set.Name, Invert: true}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

func accept() []expr.Any  { return verdict(expr.VerdictAccept) }
func drop() []expr.Any    { return verdict(expr.VerdictDrop) }
func returns() []expr.Any { return verdict(expr.VerdictReturn) }

func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

// family matches packets of one family in a table of both.
func family(addr netip.Addr) []expr.Any {
	proto := byte(unix.NFPROTO_IPV4)
	if addr.Is6() {
		proto = unix.NFPROTO_IPV6
	}
	return []expr.Any{meta(expr.MetaKeyNFPROTO, firstReg), equals(firstReg, []byte{proto})}
}

// source loads the source address, destination the other one (RFC 791, RFC 8200).
func source(of netip.Addr, register uint32) expr.Any {
	if of.Is6() {
		return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 8, Len: net.IPv6len, DestRegister: register}
	}
	return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: net.IPv4len, DestRegister: register}
}

func destination(of netip.Addr, register uint32) expr.Any {
	if of.Is6() {
		return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: net.IPv6len, DestRegister: register}
	}
	return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: net.IPv4len, DestRegister: register}
}

// to matches packets to a prefix.
func to(p netip.Prefix) []expr.Any {
	length := uint32(p.Addr().BitLen() / 8)
	return append(family(p.Addr()), destination(p.Addr(), firstReg),
		masked(firstReg, net.CIDRMask(p.Bits(), p.Addr().BitLen()), length),
		equals(firstReg, p.Addr().AsSlice()))
}

func masked(register uint32, mask []byte, length uint32) expr.Any {
	return &expr.Bitwise{SourceRegister: register, DestRegister: register, Len: length, Mask: mask, Xor: make([]byte, length)}
}

// udp matches UDP.
func udp() []expr.Any {
	return []expr.Any{meta(expr.MetaKeyL4PROTO, firstReg), equals(firstReg, []byte{unix.IPPROTO_UDP})}
}

// noWayBack matches packets whose source is reached by another link than the one they came by, or not at all.
func noWayBack() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: firstReg, ResultOIF: true, FlagSADDR: true, FlagIIF: true, FlagPRESENT: true},
		equals(firstReg, make([]byte, 4)),
	}
}

// inKind matches packets that came by a link of a kind (ip-link(8), TYPES).
func inKind(kind string) []expr.Any {
	return []expr.Any{meta(metaIIFKIND, firstReg), equals(firstReg, ifName(kind))}
}

// ifName is a link's name as nftables compares it: IFNAMSIZ bytes, filled with NULs.
func ifName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
