package ruleset

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// Encryption keeps the packets of an encrypted overlay network from going between hosts in any other way than by links of its
// device group: VXLAN packets of its VNI are dropped, whoever sends or receives them, and so is what leaves for its subnets, or
// comes from them, by any other link. It does not depend on a route, a device or a key, and stands before there is one.
type Encryption struct {
	Network string
	VNI     uint32
	// Port is the UDP port that VXLAN would have.
	Port    uint16
	Subnets []netip.Prefix
}

var _ state.Readier = Encryption{}

func (e Encryption) String() string {
	lines := []string{fmt.Sprintf("nft add element inet fairway %s { %d . %d }", refusedSet().Name, e.Port, e.VNI)}
	for _, subnet := range e.Subnets {
		lines = append(lines,
			fmt.Sprintf("nft add element inet fairway %s { %s . %d }", waySet(subnet.Addr()).Name, subnet, state.Group(e.Network)),
			fmt.Sprintf("nft add element inet fairway %s { %s . 0-%d }", encryptedSet(subnet.Addr()).Name, subnet, uint32(1<<32-1)))
	}
	return strings.Join(lines, " && ")
}

// Ensure adds the network to the sets, and takes out what of it is not declared. It says that it created nothing, as PeerTable
// does.
func (e Encryption) Ensure(k *kernel.Kernel) (bool, error) {
	if err := e.declared().ensure(k); err != nil {
		return false, fmt.Errorf("encryption of network %s: %w", e.Network, err)
	}
	return false, nil
}

// Ready says whether nftables can be used.
func (Encryption) Ready(k *kernel.Kernel) error { return nftable.Ready(k) }

// Verify looks for the network in the sets, and for the rules that use them.
func (e Encryption) Verify(k *kernel.Kernel) error { return e.declared().verify(k) }

// Remove takes the network out of the sets.
func (e Encryption) Remove(k *kernel.Kernel) error { return e.declared().remove(k) }

// Stands says whether the network is in the sets and the rules are there: a look that costs next to nothing.
func (e Encryption) Stands(k *kernel.Kernel) (bool, error) {
	d := e.declared()
	return d.stands(k, len(d.elements))
}

func (e Encryption) declared() declared {
	tag := state.OverlayTag(e.Network)
	refused := append(binary.BigEndian.AppendUint16(nil, e.Port), 0, 0)
	elements := []kernel.Element{{Set: refusedSet().Set, Key: binary.BigEndian.AppendUint32(refused, e.VNI<<8), Comment: tag}}
	group := binary.BigEndian.AppendUint32(nil, state.Group(e.Network)) // as nft has numbers in concatenations of intervals
	for _, subnet := range e.Subnets {
		first, last := subnet.Masked().Addr().AsSlice(), lastAddress(subnet)
		elements = append(elements,
			// The way is there before anything has to take it.
			kernel.Element{Set: waySet(subnet.Addr()), Key: slices.Concat(first, group), KeyEnd: slices.Concat(last, group), Comment: tag},
			kernel.Element{
				Set: encryptedSet(subnet.Addr()), Key: append(first, 0, 0, 0, 0), KeyEnd: append(last, 0xff, 0xff, 0xff, 0xff), Comment: tag,
			})
	}
	return declared{
		sets:   append([]*nftables.Set{refusedSet().Set}, encryptionSets()...),
		chains: []string{chainForward, chainVXLANInput, chainVXLANOutput, chainOwnSource, chainEncrypted}, elements: elements,
		own: func(e kernel.Element) bool { return e.Comment == tag },
	}
}

// lastAddress is the last address of a prefix.
func lastAddress(p netip.Prefix) []byte {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return b
}

// refusedSet is the networks whose VXLAN packets nobody sends or receives: those that are encrypted.
func refusedSet() kernel.TypeofSet {
	set := vniSet()
	set.Name, set.Comment = "vnis_encrypted", why["vnis_encrypted"]
	return set
}

// encryptedSet is the subnets of encrypted networks, with any device group, so that waySet has the same key.
func encryptedSet(of netip.Addr) *nftables.Set { return byWay("encrypted", of) }

// waySet is the subnets of encrypted networks, with the device group of the links that lead there.
func waySet(of netip.Addr) *nftables.Set { return byWay("encrypted_by", of) }

func byWay(name string, of netip.Addr) *nftables.Set {
	kind := nftables.TypeIPAddr
	name += "4"
	if of.Is6() {
		kind, name = nftables.TypeIP6Addr, name[:len(name)-1]+"6"
	}
	return &nftables.Set{
		Table: InetTable(), Name: name, Comment: why[name], Concatenation: true, Interval: true,
		KeyType: nftables.MustConcatSetType(kind, nftables.TypeDevGroup),
	}
}

func encryptionSets() []*nftables.Set {
	return []*nftables.Set{encryptedSet(any4), encryptedSet(any6), waySet(any4), waySet(any6)}
}

// refused drops VXLAN packets of encrypted networks.
func refused() rule {
	return rule{"the network is encrypted: nobody sends it by VXLAN", nftable.Match(vxlanPacket(), []expr.Any{lookup(portReg, refusedSet().Set)}, drop())}
}

// outputChain sees what the host itself sends, as its VXLAN devices do.
func outputChain() chain {
	c := filterChain(chainVXLANOutput, nftables.ChainHookOutput, nftables.ChainPriorityFilter)
	c.rules = []rule{refused()}
	return c
}

// encryptedChain looks at what leaves, after the routes have said by which link: whoever changes a route changes nothing here.
func encryptedChain() chain {
	c := filterChain(chainEncrypted, nftables.ChainHookPostrouting, nftables.ChainPriorityFilter)
	for _, of := range []netip.Addr{any4, any6} {
		c.rules = append(c.rules, rule{"to an encrypted network by a link that is not the network's", elsewhere(of, nftable.Destination, expr.MetaKeyOIFTYPE, expr.MetaKeyOIFGROUP)})
	}
	return c
}

// encryptedSource drops what says that it comes from an encrypted network, and comes by another link.
func encryptedSource() (rules []rule) {
	for _, of := range []netip.Addr{any4, any6} {
		rules = append(rules, rule{"from an encrypted network by a link that is not the network's", elsewhere(of, nftable.Source, expr.MetaKeyIIFTYPE, expr.MetaKeyIIFGROUP)})
	}
	return rules
}

// elsewhere drops packets with an address in an encrypted network that go or come by a link of another group. What the host sends
// itself has lo for its link.
func elsewhere(of netip.Addr, address func(netip.Addr, uint32) expr.Any, kind, group expr.MetaKey) []expr.Any {
	groupReg := portReg + uint32(of.BitLen()/32)
	loopback := binaryutil.NativeEndian.PutUint16(unix.ARPHRD_LOOPBACK)
	return nftable.Match(nftable.Family(of), []expr.Any{
		meta(kind, firstReg), &expr.Cmp{Op: expr.CmpOpNeq, Register: firstReg, Data: loopback},
		address(of, portReg), meta(group, groupReg), &expr.Byteorder{SourceRegister: groupReg, DestRegister: groupReg, Op: expr.ByteorderHton, Len: 4, Size: 4},
		lookup(portReg, encryptedSet(of)), missing(portReg, waySet(of)),
	}, drop())
}
