package ports

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// version is a hash of all sets and rules, which TestLayout computes.
const version = "f56f6719"

// UserChain is the administrator's: it is made empty, sees what comes to published ports before it is translated, and is never
// changed.
const UserChain = "user"

var any4, any6 = netip.IPv4Unspecified(), netip.IPv6Unspecified()

// Table is the table of published ports.
func Table() *nftables.Table {
	return &nftables.Table{Name: "fairway_ports", Family: nftables.TableFamilyINet}
}

// kind is one of the maps, and of the sets that limit who may come in, of one family. Its key is the host's address, unless
// it is for all of them, the protocol and the port.
type kind struct {
	of              netip.Addr
	anywhere, ports bool // for all addresses; for ports in a row
}

// kinds are in the order in which they are looked up: what says more comes first.
func kinds(of netip.Addr) []kind {
	return []kind{{of, false, false}, {of, false, true}, {of, true, false}, {of, true, true}}
}

func (k kind) name(what string) string {
	if k.ports {
		what += "_ranges"
	}
	if k.anywhere {
		what += "_any"
	}
	if k.of.Is6() {
		return what + "6"
	}
	return what + "4"
}

func (k kind) address() nftables.SetDatatype {
	if k.of.Is6() {
		return nftables.TypeIP6Addr
	}
	return nftables.TypeIPAddr
}

func (k kind) key() nftables.SetDatatype {
	if k.anywhere {
		return nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService)
	}
	return nftables.MustConcatSetType(k.address(), nftables.TypeInetProto, nftables.TypeInetService)
}

// published is the map to the container's address and port; to the address alone for ports in a row.
func (k kind) published() *nftables.Set {
	s := &nftables.Set{
		Table: Table(), Name: k.name("published"), IsMap: true, Concatenation: true, Interval: k.ports,
		KeyType: k.key(), DataType: k.address(),
	}
	if !k.ports {
		s.DataType = nftables.MustConcatSetType(k.address(), nftables.TypeInetService)
	}
	return s
}

// limited is the map to the chain that knows who may come in.
func (k kind) limited() *nftables.Set {
	return &nftables.Set{
		Table: Table(), Name: k.name("limited"), IsMap: true, Concatenation: true, Interval: k.ports,
		KeyType: k.key(), DataType: nftables.TypeVerdict,
	}
}

// load loads the key.
func (k kind) load() []expr.Any {
	at, load := 0, []expr.Any(nil)
	if !k.anywhere {
		load = []expr.Any{nftable.Destination(k.of, nftable.Reg)}
		at = k.of.BitLen() / 32
	}
	return append(load,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: nftable.Reg4(at)},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, DestRegister: nftable.Reg4(at + 1)})
}

// check is `… vmap @limited`.
func (k kind) check() []expr.Any {
	return nftable.Match(nftable.Family(k.of), k.load(), []expr.Any{
		&expr.Lookup{SourceRegister: nftable.Reg, SetName: k.limited().Name, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true},
	})
}

// translate is `dnat to … map @published`.
func (k kind) translate() []expr.Any {
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: nftable.Reg}
	if k.of.Is6() {
		nat.Family = unix.NFPROTO_IPV6
	}
	if !k.ports {
		nat.RegProtoMin, nat.Specified = nftable.Reg4(k.of.BitLen()/32), true
	}
	return nftable.Match(nftable.Family(k.of), k.load(), []expr.Any{
		&expr.Lookup{SourceRegister: nftable.Reg, SetName: k.published().Name, DestRegister: nftable.Reg, IsDestRegSet: true}, nat,
	})
}

// hairpinSet is the containers that are reached by way of the link by which the packet came: by themselves, or by others on
// their bridge. Their answers would not come back through the host.
func hairpinSet(of netip.Addr) *nftables.Set {
	k := kind{of: of}
	return &nftables.Set{
		Table: Table(), Name: k.name("hairpin"), Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIFName, k.address()),
	}
}

// selfSet is the containers as pairs of source and destination. With br_netfilter, a frame that a bridge sends back has no link
// there that it came by.
func selfSet(of netip.Addr) *nftables.Set {
	k := kind{of: of}
	return &nftables.Set{
		Table: Table(), Name: k.name("self"), Concatenation: true, KeyType: nftables.MustConcatSetType(k.address(), k.address()),
	}
}

// hiddenSet is the containers to which all that comes in seems to come from the host.
func hiddenSet(of netip.Addr) *nftables.Set {
	k := kind{of: of}
	return &nftables.Set{Table: Table(), Name: k.name("masquerade_all"), KeyType: k.address()}
}

// directSet is the containers that nobody outside reaches but by published ports.
func directSet(of netip.Addr) *nftables.Set {
	k := kind{of: of}
	return &nftables.Set{Table: Table(), Name: k.name("published_only"), KeyType: k.address()}
}

// insideSet is the links to such containers, which are none of outside. Bridges of fairway are told by their group as well,
// unless they had another before.
func insideSet() *nftables.Set {
	return &nftables.Set{Table: Table(), Name: "inside", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}
}

// publishersSet is the containers that have elements in other sets, by the names of their links on the host. Rules do not look into it.
func publishersSet() *nftables.Set {
	return &nftables.Set{Table: Table(), Name: "publishers", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}
}

func sets() []*nftables.Set {
	list := []*nftables.Set{insideSet(), publishersSet()}
	for _, of := range []netip.Addr{any4, any6} {
		for _, k := range kinds(of) {
			list = append(list, k.published(), k.limited())
		}
		list = append(list, hairpinSet(of), selfSet(of), hiddenSet(of), directSet(of))
	}
	return list
}

// layout is the table without elements.
func layout() nftable.Layout {
	return nftable.Layout{
		Table: Table(), Version: version, Sets: sets(), User: UserChain,
		Chains: []nftable.Chain{rawChain(), limitsChain(), translationChain(), preroutingChain(), outputChain(), postroutingChain()},
	}
}

// rawChain drops what has to come by a published port, before anything is translated.
func rawChain() nftable.Chain {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	c := base("raw", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -300) // NF_IP_PRI_RAW
	c.Rules = []nftable.Rule{{
		Why:   "nobody else reaches the host's loopback, which route_localnet opens",
		Exprs: nftable.Match(nftable.NotInLoopback(), nftable.Within(nftable.Destination, loopback), nftable.Verdict(expr.VerdictDrop)),
	}}
	for _, of := range []netip.Addr{any4, any6} {
		c.Rules = append(c.Rules, nftable.Rule{
			Why: "from outside, containers are reached by published ports",
			Exprs: nftable.Match(nftable.NotInLoopback(), nftable.NotInGroup(state.BridgeGroup), nftable.Family(of),
				[]expr.Any{
					&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: nftable.Reg},
					&expr.Lookup{SourceRegister: nftable.Reg, SetName: insideSet().Name, Invert: true},
					nftable.Destination(of, nftable.Reg), nftable.In(directSet(of))}, nftable.Verdict(expr.VerdictDrop)),
		})
	}
	return c
}

// limitsChain is for what comes in from other hosts and containers: the limits, and then the translation, of each kind.
func limitsChain() nftable.Chain {
	c := nftable.Chain{Chain: &nftables.Chain{Table: Table(), Name: "incoming"}}
	c.Rules = append(c.Rules, nftable.Rule{Why: "what the administrator says", Exprs: nftable.Jump(UserChain)})
	for _, of := range []netip.Addr{any4, any6} {
		for _, k := range kinds(of) {
			c.Rules = append(c.Rules,
				nftable.Rule{Why: "who may come in", Exprs: k.check()}, nftable.Rule{Why: "to the container", Exprs: k.translate()})
		}
	}
	return c
}

// translationChain is for what the host itself sends.
func translationChain() nftable.Chain {
	c := nftable.Chain{Chain: &nftables.Chain{Table: Table(), Name: "own"}}
	for _, of := range []netip.Addr{any4, any6} {
		for _, k := range kinds(of) {
			c.Rules = append(c.Rules, nftable.Rule{Why: "to the container", Exprs: k.translate()})
		}
	}
	return c
}

func preroutingChain() nftable.Chain {
	c := base("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -100) // NF_IP_PRI_NAT_DST
	c.Rules = []nftable.Rule{{Why: "to an address of the host", Exprs: nftable.Match(toHost(), nftable.Jump("incoming"))}}
	return c
}

func outputChain() nftable.Chain {
	c := base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, -100)
	c.Rules = []nftable.Rule{
		{Why: "IPv6 has no route_localnet: nothing leaves by another link from ::1", Exprs: nftable.Match(
			nftable.Within(nftable.Destination, netip.MustParsePrefix("::1/128")), nftable.Verdict(expr.VerdictReturn))},
		{Why: "to an address of the host", Exprs: nftable.Match(toHost(), nftable.Jump("own"))},
	}
	return c
}

// postroutingChain comes before networks are masqueraded, as what it matches has to seem to come from the host.
func postroutingChain() nftable.Chain {
	c := base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 99) // NF_IP_PRI_NAT_SRC - 1
	masquerade := []expr.Any{&expr.Masq{}}
	for _, of := range []netip.Addr{any4, any6} {
		c.Rules = append(c.Rules,
			nftable.Rule{Why: "back by the link that it came by", Exprs: nftable.Match(nftable.Family(of), translated(), []expr.Any{
				&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: nftable.Reg4(0)},
				&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: nftable.Reg4(4)},
				nftable.Destination(of, nftable.Reg4(8)),
				nftable.In(hairpinSet(of)),
			}, masquerade)},
			nftable.Rule{Why: "from a container to itself", Exprs: nftable.Match(nftable.Family(of), translated(), []expr.Any{
				nftable.Source(of, nftable.Reg),
				nftable.Destination(of, nftable.Reg4(of.BitLen()/32)),
				nftable.In(selfSet(of)),
			}, masquerade)},
			nftable.Rule{Why: "masqAll", Exprs: nftable.Match(nftable.Family(of), translated(),
				[]expr.Any{nftable.Destination(of, nftable.Reg), nftable.In(hiddenSet(of))}, masquerade)})
	}
	c.Rules = append(c.Rules, nftable.Rule{Why: "no container answers to the host's loopback", Exprs: nftable.Match(
		nftable.Within(nftable.Source, netip.MustParsePrefix("127.0.0.0/8")), translated(), masquerade)})
	return c
}

func base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority int32) nftable.Chain {
	return nftable.Chain{Chain: &nftables.Chain{
		Table: Table(), Name: name, Type: kind, Hooknum: hook, Priority: nftables.ChainPriorityRef(nftables.ChainPriority(priority)),
	}}
}

// toHost matches packets to an address of the host: `fib daddr type local`.
func toHost() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: nftable.Reg, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: nftable.Reg, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// translated matches packets whose destination was translated: `ct status dnat`.
func translated() []expr.Any {
	const translated = 1 << 5 // IPS_DST_NAT
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: nftable.Reg},
		&expr.Bitwise{SourceRegister: nftable.Reg, DestRegister: nftable.Reg, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(translated), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: nftable.Reg, Data: make([]byte, 4)},
	}
}
