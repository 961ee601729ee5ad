package nftable

import (
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers: the first of sixteen bytes, and the n-th of four bytes, which share its memory.
const Reg = unix.NFT_REG_1

// Reg4 is the n-th register of four bytes.
func Reg4(n int) uint32 { return unix.NFT_REG32_00 + uint32(n) }

// Match joins what a rule consists of.
func Match(parts ...[]expr.Any) []expr.Any { return slices.Concat(parts...) }

// Family matches packets of one family in a table of both.
func Family(of netip.Addr) []expr.Any {
	proto := byte(unix.NFPROTO_IPV4)
	if of.Is6() {
		proto = unix.NFPROTO_IPV6
	}
	return equals(expr.MetaKeyNFPROTO, []byte{proto})
}

// InLoopback matches packets by the loopback, whose index is 1 in every namespace; NotInLoopback the others.
func InLoopback() []expr.Any { return equals(expr.MetaKeyIIF, binaryutil.NativeEndian.PutUint32(1)) }

func NotInLoopback() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIF, Register: Reg},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: Reg, Data: binaryutil.NativeEndian.PutUint32(1)},
	}
}

// NotInGroup matches packets by links that are not of a device group.
func NotInGroup(group uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFGROUP, Register: Reg},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: Reg, Data: binaryutil.NativeEndian.PutUint32(group)},
	}
}

func equals(key expr.MetaKey, value []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: Reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: Reg, Data: value}}
}

// Source loads the address that a packet comes from.
func Source(of netip.Addr, register uint32) expr.Any {
	if of.Is6() {
		return network(8, net.IPv6len, register) // RFC 8200, 3
	}
	return network(12, net.IPv4len, register) // RFC 791, 3.1
}

// Destination loads the address that a packet goes to.
func Destination(of netip.Addr, register uint32) expr.Any {
	if of.Is6() {
		return network(24, net.IPv6len, register)
	}
	return network(16, net.IPv4len, register)
}

func network(offset, length, register uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length, DestRegister: register}
}

// Within matches packets whose address, loaded by load into Reg, lies in a prefix.
func Within(load func(netip.Addr, uint32) expr.Any, p netip.Prefix) []expr.Any {
	length := uint32(p.Addr().BitLen() / 8)
	return Match(Family(p.Addr()), []expr.Any{
		load(p.Addr(), Reg),
		&expr.Bitwise{SourceRegister: Reg, DestRegister: Reg, Len: length,
			Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()), Xor: make([]byte, length)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: Reg, Data: p.Masked().Addr().AsSlice()},
	})
}

// In looks up what begins in Reg; the rule ends where it is not in the set.
func In(set *nftables.Set) expr.Any { return &expr.Lookup{SourceRegister: Reg, SetName: set.Name} }

// Verdict is what becomes of a packet.
func Verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

// Jump leads to a chain, and goes on behind it.
func Jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

// IfName is a link's name as nftables compares it: IFNAMSIZ bytes, filled with NULs.
func IfName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
