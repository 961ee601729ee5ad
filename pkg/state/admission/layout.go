// Package admission declares what a host forwards from and to containers for the plugin firewall: which it lets through, and
// which bridges are apart. All are elements of sets in a table of fairway's own, inet fairway_firewall. It needs CAP_NET_ADMIN in
// the host's namespace.
package admission

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// version is a hash of all sets and rules, which TestLayout computes.
const version = "259c6be3"

// AdminChain is the administrator's: it is made empty, asked before everything else, and never changed.
const AdminChain = "admin"

var any4, any6 = netip.IPv4Unspecified(), netip.IPv6Unspecified()

// Table is the table of the plugin firewall.
func Table() *nftables.Table {
	return &nftables.Table{Name: "fairway_firewall", Family: nftables.TableFamilyINet}
}

// admittedSet is the containers that are let through.
func admittedSet(of netip.Addr) *nftables.Set {
	s := &nftables.Set{Table: Table(), Name: "admitted4", KeyType: nftables.TypeIPAddr}
	if of.Is6() {
		s.Name, s.KeyType = "admitted6", nftables.TypeIP6Addr
	}
	return s
}

// apartSet is the bridges that are apart from each other.
func apartSet() *nftables.Set {
	return &nftables.Set{Table: Table(), Name: "apart", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}
}

// withinSet is these bridges as pairs of in and out; isolatedSet is those whose containers are apart from each other too.
func withinSet() *nftables.Set { return pairs("within") }

func isolatedSet() *nftables.Set { return pairs("isolated") }

func pairs(name string) *nftables.Set {
	return &nftables.Set{
		Table: Table(), Name: name, Concatenation: true, KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIFName),
	}
}

// layout is the table without elements.
func layout() nftable.Layout {
	chain := nftable.Chain{
		Chain: &nftables.Chain{
			Table: Table(), Name: "forward", Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		},
		Rules: []nftable.Rule{
			{Why: "what the administrator says", Exprs: nftable.Jump(AdminChain)},
			{Why: "ingressPolicy isolated", Exprs: nftable.Match(inOut(isolatedSet()), nftable.Verdict(expr.VerdictDrop))},
			{Why: "within a bridge", Exprs: nftable.Match(inOut(withinSet()), nftable.Verdict(expr.VerdictAccept))},
			{Why: "ingressPolicy same-bridge", Exprs: nftable.Match(
				by(expr.MetaKeyIIFNAME, apartSet()), by(expr.MetaKeyOIFNAME, apartSet()), nftable.Verdict(expr.VerdictDrop))},
		},
	}
	for _, of := range []netip.Addr{any4, any6} {
		chain.Rules = append(chain.Rules,
			nftable.Rule{Why: "from a container", Exprs: nftable.Match(nftable.Family(of),
				[]expr.Any{nftable.Source(of, nftable.Reg), nftable.In(admittedSet(of))}, nftable.Verdict(expr.VerdictAccept))},
			nftable.Rule{Why: "answers to a container", Exprs: nftable.Match(nftable.Family(of),
				[]expr.Any{nftable.Destination(of, nftable.Reg), nftable.In(admittedSet(of))}, answers(), nftable.Verdict(expr.VerdictAccept))})
	}
	return nftable.Layout{
		Table: Table(), Version: version, User: AdminChain, Chains: []nftable.Chain{chain},
		Sets: []*nftables.Set{admittedSet(any4), admittedSet(any6), apartSet(), withinSet(), isolatedSet()},
	}
}

func by(key expr.MetaKey, set *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: nftable.Reg}, nftable.In(set)}
}

func inOut(set *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: nftable.Reg4(0)}, &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: nftable.Reg4(4)},
		nftable.In(set),
	}
}

// answers matches packets of connections that are there, or belong to one: `ct state established,related`.
func answers() []expr.Any {
	const there = expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: nftable.Reg},
		&expr.Bitwise{SourceRegister: nftable.Reg, DestRegister: nftable.Reg, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(there), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: nftable.Reg, Data: make([]byte, 4)},
	}
}
