package ports

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// Published is the published ports of a container.
type Published struct {
	Owner state.Owner
	// Addrs are the container's, at most one of each family.
	Addrs []netip.Addr
	Ports []Port
	// Link is the host's link to the container. Empty: that of the route to it.
	Link string
	// Hairpin lets the container itself and others behind the same link use the ports, and for IPv4 the host by its loopback.
	Hairpin bool
	// MasqueradeAll makes all that comes in seem to come from the host.
	MasqueradeAll bool
	// Only drops what comes from outside to the container by another way.
	Only bool
}

var (
	_ state.Rule    = Published{}
	_ state.Adder   = Published{}
	_ state.Readier = Published{}
)

// Rule marks it as one that translates or filters packets.
func (Published) Rule() {}

func (p Published) String() string {
	var lines []string
	for _, port := range p.Ports {
		lines = append(lines, "# publish "+port.String())
	}
	for _, e := range p.beside("LINK") {
		lines = append(lines, fmt.Sprintf("nft add element inet %s %s { … }", Table().Name, e.Set.Name))
	}
	return strings.Join(lines, " && ")
}

// elements are those of the ports: in the maps, and of who may come in.
func (p Published) elements() []kernel.Element {
	var elements []kernel.Element
	tag := p.Owner.Tag()
	for _, addr := range p.Addrs {
		for _, port := range p.eachPort() {
			if !port.serves(addr) {
				continue
			}
			if limit, ok := port.limit(addr, tag); ok {
				elements = append(elements, limit)
			}
			elements = append(elements, port.element(addr, tag))
		}
	}
	return elements
}

// eachPort is the ports, with those of a run that leads to other ports one by one.
func (p Published) eachPort() []Port {
	var list []Port
	for _, port := range p.Ports {
		if port.More > 0 && !port.isRun() {
			list = append(list, port.Singles()...)
		} else {
			list = append(list, port)
		}
	}
	return list
}

// beside is the elements that a container has beside its ports.
func (p Published) beside(link string) []kernel.Element {
	var elements []kernel.Element
	tag := p.Owner.Tag()
	for _, addr := range p.Addrs {
		if p.Hairpin && len(p.Ports) > 0 {
			key := append(append(nftable.IfName(link), nftable.IfName(link)...), addr.AsSlice()...)
			self := append(addr.AsSlice(), addr.AsSlice()...)
			elements = append(elements, kernel.Element{Set: hairpinSet(addr), Key: key, Comment: tag},
				kernel.Element{Set: selfSet(addr), Key: self, Comment: tag})
		}
		if p.MasqueradeAll && len(p.Ports) > 0 {
			elements = append(elements, kernel.Element{Set: hiddenSet(addr), Key: addr.AsSlice(), Comment: tag})
		}
		if p.Only {
			elements = append(elements, kernel.Element{Set: directSet(addr), Key: addr.AsSlice(), Comment: tag})
		}
	}
	if p.Only && link != "" && len(p.Addrs) > 0 {
		elements = append(elements, kernel.Element{Set: insideSet(), Key: nftable.IfName(link), Comment: state.BridgeTag(link)})
	}
	return elements
}

// isBeside says whether an element is one that a container has beside its ports.
func isBeside(e kernel.Element) bool {
	if e.Set.Name == publishersSet().Name {
		return true
	}
	for _, of := range []netip.Addr{any4, any6} {
		for _, set := range []*nftables.Set{hairpinSet(of), selfSet(of), hiddenSet(of), directSet(of)} {
			if e.Set.Name == set.Name {
				return true
			}
		}
	}
	return false
}

// Ensure is Add.
func (p Published) Ensure(k *kernel.Kernel) (bool, error) { return state.Ensured(p, k) }

// Add publishes the ports, beside those that the container has published already. What is in the way is told before anything is made:
// another container that has published one, or a program of the host that listens there.
func (p Published) Add(k *kernel.Kernel, made *state.Rollback) error {
	if len(p.Addrs) == 0 || len(p.Ports) == 0 && !p.Only {
		return nil
	}
	if err := p.conflict(k); err != nil {
		return err
	}
	link, err := p.link(k)
	if err != nil {
		return err
	}
	var change nftable.Change
	err = nftable.Again(func() error { return p.add(k, link, &change) })
	if len(change.Added) > 0 {
		made.Push(func() error { return takeBack(k, change) })
	}
	if err != nil {
		return err
	}
	return errors.Join(p.openLoopback(k, link), p.reflect(k), p.forget(k))
}

// add adds the elements and what they lead to. Those of the owner's ADD that was cut short stay; what is beside the ports may be of an earlier holder
// of the address.
func (p Published) add(k *kernel.Kernel, link string, change *nftable.Change) error {
	if err := layout().Ensure(k); err != nil {
		return err
	}
	for _, port := range p.Ports {
		if len(port.Sources) > 0 {
			if err := ensureSources(k, port.Sources); err != nil {
				return err
			}
		}
	}
	entered, err := p.enter(k, link)
	if err != nil {
		return err
	}
	if len(entered) > 0 { // it may have been flushed since an earlier try
		change.Added = entered
	}
	beside, err := nftable.DeleteStale(k, p.beside(link))
	if err != nil {
		return err
	}
	put, err := layout().Put(k, append(p.elements(), beside...))
	change.Added, change.Replaced = append(change.Added, put.Added...), put.Replaced
	var taken *nftable.TakenError
	if errors.As(err, &taken) {
		return asConflict(taken)
	}
	return err
}

// takeBack leaves the elements as they were, and forgets the flows that came in by those added.
func takeBack(k *kernel.Kernel, change nftable.Change) error {
	err := change.TakeBack(k)
	forgetLater(k, change.Added)
	return err
}

// link is the host's link to the container.
func (p Published) link(k *kernel.Kernel) (string, error) {
	if p.Link != "" || !p.Hairpin || len(p.Ports) == 0 {
		return p.Link, nil
	}
	for _, addr := range p.Addrs {
		routes, err := k.Host.RouteGet(addr)
		if err != nil {
			return "", fmt.Errorf("ip route get %s: %w", addr, err)
		}
		if len(routes) > 0 {
			link, err := k.Host.LinkAt(routes[0].LinkIndex)
			if err != nil {
				return "", err
			}
			return link.Attrs().Name, nil
		}
	}
	return "", nil
}

// openLoopback lets packets from 127.0.0.0/8 leave by the link; chain raw keeps them from coming in.
func (p Published) openLoopback(k *kernel.Kernel, link string) error {
	s, ok := p.localnet(link)
	if !ok {
		return nil
	}
	_, err := s.Ensure(k)
	return err
}

// reflect lets the container's port of a bridge send frames back where br_netfilter translates them within the bridge: a
// container that asks for its own port is answered by that way.
func (p Published) reflect(k *kernel.Kernel) error {
	if !p.Hairpin || len(p.Ports) == 0 {
		return nil
	}
	filters := false
	for _, key := range []string{"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"} {
		value, err := k.Host.Sysctl(key) // absent: the module is not there
		filters = filters || err == nil && value != "0"
	}
	port, err := k.Host.Link(p.Owner.HostLink())
	if !filters || err != nil || port.Attrs().MasterIndex == 0 {
		return state.IgnoreNotFound(err) // the link is another suite's, or no bridge's
	}
	if err := k.Host.LinkSetHairpin(port, true); err != nil {
		return fmt.Errorf("bridge link set dev %s hairpin on: %w", p.Owner.HostLink(), err)
	}
	return nil
}

// localnet is the parameter by which the host's loopback reaches the container; ok is false where it is not needed.
func (p Published) localnet(link string) (s state.Sysctl, ok bool) {
	for _, addr := range p.Addrs {
		ok = ok || addr.Is4() && p.Hairpin && len(p.Ports) > 0 && link != "" && link != "lo"
	}
	return state.Sysctl{Key: "net/ipv4/conf/" + link + "/route_localnet", Value: "1"}, ok
}

// Ready says whether nftables can be used.
func (Published) Ready(k *kernel.Kernel) error { return nftable.Ready(k) }

// Verify looks for the ports, and for the rules that use them.
func (p Published) Verify(k *kernel.Kernel) error {
	if len(p.Addrs) == 0 || len(p.Ports) == 0 && !p.Only {
		return nil
	}
	link, err := p.link(k)
	if err != nil {
		return err
	}
	errs := []error{layout().Verify(k), nftable.VerifyElements(k, append(p.elements(), p.beside(link)...))}
	if s, ok := p.localnet(link); ok {
		if _, err := k.Host.Link(link); err == nil { // else the link's own Verify says so
			errs = append(errs, s.Verify(k))
		}
	}
	return errors.Join(errs...)
}

// Remove deletes the owner's elements, whatever ports they are for. The flows of UDP that came in by them go when no packet can
// begin new ones.
func (p Published) Remove(k *kernel.Kernel) error {
	gone, known, err := p.removeNoted(k)
	if err != nil {
		return err
	}
	if known {
		forgetLater(k, gone)
		return nil
	}
	tag := p.Owner.Tag()
	return remove(k, func(t string) bool { return t == tag })
}

// Prune deletes the elements of owners that are stale, and the chains that none leads to.
func Prune(k *kernel.Kernel, stale func(tag string) bool) error {
	return errors.Join(remove(k, stale), pruneSources(k))
}

// Collect is Prune for who calls nothing else afterwards.
func Collect(k *kernel.Kernel, stale func(tag string) bool) error {
	return errors.Join(Prune(k, stale), k.Finish())
}

func remove(k *kernel.Kernel, stale func(tag string) bool) error {
	gone, err := layout().Remove(k, func(e kernel.Element) bool {
		return stale(e.Comment) || e.Set.Name == insideSet().Name && isGone(k, e.Comment)
	})
	forgetLater(k, gone)
	return err
}

// forgetLater forgets the flows by ports that are gone when all else of the attachment is.
func forgetLater(k *kernel.Kernel, gone []kernel.Element) {
	k.Later(func() error { return forgetFlows(k, entriesOf(gone)) })
}

// entriesOf are the ports among elements.
func entriesOf(elements []kernel.Element) (entries []entry) {
	for _, e := range elements {
		if port, to, ok := portOf(e); ok {
			entries = append(entries, entry{port, to})
		}
	}
	return entries
}

// isGone says whether a tag is that of a link which is no more.
func isGone(k *kernel.Kernel, tag string) bool {
	link, ok := strings.CutPrefix(tag, state.BridgeTag(""))
	if !ok {
		return false
	}
	_, err := k.Host.LinkNow(link)
	return kernel.IsNotFound(err)
}

// pruneSources deletes the chains of sources to which no element leads. The kernel refuses to delete one in use.
func pruneSources(k *kernel.Kernel) error {
	conn, err := k.Nftables()
	if err != nil {
		return err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil // there are none, or no nftables; the library does not tell which
	}
	for _, c := range chains {
		if c.Table.Name == Table().Name && strings.HasPrefix(c.Name, sourcesPrefix) {
			conn.FlushChain(c)
			conn.DelChain(c)
			_ = conn.Flush() // in use, or gone meanwhile
		}
	}
	return nil
}

// Withdraw takes ports of an owner back. The error wraps state.ErrAbsent when it has not published one.
func Withdraw(k *kernel.Kernel, owner state.Owner, list []Port) error {
	tag := owner.Tag()
	of := Published{Owner: owner, Ports: list}
	wanted := make(map[string]Port)
	for _, any := range []netip.Addr{any4, any6} {
		for _, p := range of.eachPort() {
			if e := p.element(any, tag); p.serves(any) {
				wanted[e.Set.Name+string(e.Key)] = p
				limited := kind{of: any, anywhere: p.anywhere(), ports: p.isRun()}.limited()
				wanted[limited.Name+string(e.Key)] = p
			}
		}
	}
	published := false // beside these
	gone, err := layout().Remove(k, func(e kernel.Element) bool {
		_, ok := wanted[e.Set.Name+string(e.Key)]
		published = published || !ok && e.Comment == tag && !isBeside(e)
		return ok && e.Comment == tag
	})
	if err != nil {
		return err
	}
	if !published {
		// Only packets that came in by ports are looked up in these.
		of := []string{hairpinSet(any4).Name, hairpinSet(any6).Name, selfSet(any4).Name, selfSet(any6).Name}
		if _, err := layout().Remove(k, func(e kernel.Element) bool { return e.Comment == tag && slices.Contains(of, e.Set.Name) }); err != nil {
			return err
		}
	}
	withdrawn := make(map[Key]bool)
	for _, e := range gone {
		withdrawn[wanted[e.Set.Name+string(e.Key)].Key()] = true
	}
	errs := []error{forgetFlows(k, entriesOf(gone))}
	for _, p := range of.eachPort() {
		if !withdrawn[p.Key()] {
			errs = append(errs, fmt.Errorf("port %s is not published by the container: %w", p.host(), state.ErrAbsent))
		}
	}
	return errors.Join(errs...)
}
