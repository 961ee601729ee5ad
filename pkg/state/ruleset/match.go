package ruleset

import (
	"github.com/fairway-cni/fairway/pkg/state/nftable"
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
	second := nftable.Reg4(1)
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

func accept() []expr.Any  { return nftable.Verdict(expr.VerdictAccept) }
func drop() []expr.Any    { return nftable.Verdict(expr.VerdictDrop) }
func returns() []expr.Any { return nftable.Verdict(expr.VerdictReturn) }

// masked keeps the bits of a register that a mask has.
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
	return []expr.Any{meta(metaIIFKIND, firstReg), equals(firstReg, nftable.IfName(kind))}
}
