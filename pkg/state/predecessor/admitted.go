package predecessor

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Admitted is what firewall lets through for a container, with the backend iptables: it is known by the addresses alone.
type Admitted struct {
	rules
	Addrs []netip.Addr
	// IfName is the container's interface, which has the addresses where no result says them. Below CNI 0.4.0 none does at DEL.
	IfName string
}

var _ state.Rule = Admitted{}

func (a Admitted) String() string {
	var lines []string
	for _, addr := range a.Addrs {
		lines = append(lines, "# no rule for "+addr.String()+" in chain "+forwardChain)
	}
	return strings.Join(lines, " && ")
}

var filterTables = tables{filterTable: ipFamilies}

// Remove takes it away. With the last container go the chains that all share, unless the administrator has rules in one; among them those of
// ingressPolicy, which those plugins never remove.
func (a Admitted) Remove(k *kernel.Kernel) error {
	return remove(k, filterTables, func(l *listing) (err error) {
		if len(l.tables) > 0 && len(a.Addrs) == 0 {
			if a.Addrs, err = addressesOf(k.Container, a.IfName); err != nil {
				return err
			}
		}
		for _, family := range ipFamilies {
			if err := a.drop(l, family); err != nil {
				return err
			}
		}
		return nil
	})
}

// addressesOf are those of a container's interface. Without the container there are none.
func addressesOf(container *kernel.Namespace, ifname string) (addrs []netip.Addr, err error) {
	if container == nil {
		return nil, nil
	}
	link, err := container.Link(ifname)
	if err != nil {
		return nil, state.IgnoreNotFound(err)
	}
	list, err := container.AddrList(link, unix.AF_UNSPEC)
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs, err
}

func (a Admitted) drop(l *listing, family nftables.TableFamily) error {
	rules, err := l.rules(family, filterTable, forwardChain)
	if err != nil {
		return err
	}
	var found, others bool
	admin := ""
	for _, r := range rules {
		switch {
		case isAbout(r, a.Addrs):
			found = true
			l.goneRules = append(l.goneRules, r)
		case target(r) != "":
			admin = target(r)
		default:
			others = true
		}
	}
	ruled, err := l.rules(family, filterTable, admin)
	if err != nil || !found || others || len(ruled) > 0 {
		return err
	}
	for chain, from := range map[string][]string{
		forwardChain: {"FORWARD"}, admin: nil, isolationChain: {"FORWARD"}, bridgesChain: nil,
	} {
		if err := l.dropChain(family, filterTable, chain, from...); err != nil {
			return err
		}
	}
	return nil
}

// Stands says whether firewall has let all of the addresses through.
func (a Admitted) Stands(k *kernel.Kernel) (bool, error) {
	l, err := list(k, filterTables)
	if err != nil {
		return false, err
	}
	for _, addr := range a.Addrs {
		family := nftables.TableFamilyIPv4
		if addr.Is6() {
			family = nftables.TableFamilyIPv6
		}
		rules, err := l.rules(family, filterTable, forwardChain)
		if err != nil || !slices.ContainsFunc(rules, func(r *nftables.Rule) bool { return isAbout(r, []netip.Addr{addr}) }) {
			return false, err
		}
	}
	return len(a.Addrs) > 0, nil
}

// Apart says whether firewall has an ingressPolicy for a bridge.
func Apart(bridge string) func(*kernel.Kernel) (bool, error) {
	return func(k *kernel.Kernel) (bool, error) {
		l, err := list(k, filterTables)
		if err != nil {
			return false, err
		}
		for _, family := range ipFamilies {
			rules, err := l.rules(family, filterTable, isolationChain)
			if err != nil || slices.ContainsFunc(rules, func(r *nftables.Rule) bool { return isAboutLink(r, bridge) }) {
				return err == nil, err
			}
		}
		return false, nil
	}
}
