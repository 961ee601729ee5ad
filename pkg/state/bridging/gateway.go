package bridging

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Gateway is the set of addresses by which a link of the host is its containers' gateway.
type Gateway struct {
	state.Attribute
	Link string
	// Prefixes are the addresses with the length of their subnets.
	Prefixes []netip.Prefix
	// Leased are addresses of the container, none of which can be the link's as well.
	Leased []netip.Addr
	// Force replaces a conflicting address instead of refusing.
	Force bool
}

func (g Gateway) String() string {
	var lines []string
	for _, p := range g.Prefixes {
		lines = append(lines, state.Address{Link: g.Link, Prefix: p}.String())
	}
	return strings.Join(lines, " && ")
}

// Ensure adds the addresses that are missing. Another IPv4 address on the link, or an IPv6 address whose subnet overlaps,
// is a conflict: two networks claim one bridge. The error wraps ErrConflict.
func (g Gateway) Ensure(k *kernel.Kernel) (bool, error) {
	for _, p := range g.Prefixes {
		if slices.Contains(g.Leased, p.Addr()) {
			return false, failure.Of(state.ErrConflict, "the container's address %s is also its gateway's, which %s is to have: "+
				"give the container another address, or name a gateway in ipam", p.Addr(), g.Link)
		}
	}
	added, err := g.add(k)
	// Only a new address can conflict, so that an ADD to a bridge in use lists nothing.
	if err == nil && len(added) > 0 {
		err = g.settleConflicts(k)
	}
	if err != nil {
		return false, errors.Join(err, g.drop(k, added))
	}
	return len(added) > 0, nil
}

// add adds the addresses that are missing, and gives back which.
func (g Gateway) add(k *kernel.Kernel) (added []state.Address, err error) {
	for _, p := range g.Prefixes {
		address := state.Address{In: state.Host, Link: g.Link, Prefix: p}
		made, err := address.Ensure(k)
		if err != nil {
			return added, err
		}
		if made {
			added = append(added, address)
		}
	}
	return added, nil
}

func (g Gateway) settleConflicts(k *kernel.Kernel) error {
	link, err := k.Host.Link(g.Link)
	if err != nil {
		return err
	}
	found, err := state.LinkAddresses(k.Host, link)
	if err != nil {
		return err
	}
	replaced := false
	for _, addr := range found {
		other := state.PrefixOf(addr.IPNet)
		ours, clash := g.clash(other)
		if !clash {
			continue
		}
		if !g.Force {
			return g.conflict(other, ours)
		}
		if err := k.Host.AddrDel(link, &netlink.Addr{IPNet: addr.IPNet}); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("ip addr del %s dev %s: %w", other, g.Link, err)
		}
		replaced = true
	}
	if replaced {
		// The kernel takes the other addresses of a subnet away with the first one (unless promote_secondaries is set).
		_, err = g.add(k)
	}
	return err
}

func (g Gateway) conflict(other, ours netip.Prefix) error {
	return fmt.Errorf("%s has address %s, %w, by which it is %s: use another bridge, or set forceAddress to replace the address",
		g.Link, other, state.ErrConflict, ours)
}

// Ready says whether the link has an address that would not let it have these.
func (g Gateway) Ready(k *kernel.Kernel) error {
	link, err := k.Host.Link(g.Link)
	if err != nil || g.Force {
		return state.IgnoreNotFound(err)
	}
	found, err := state.LinkAddresses(k.Host, link)
	if err != nil {
		return err
	}
	for _, addr := range found {
		other := state.PrefixOf(addr.IPNet)
		if ours, clash := g.clash(other); clash {
			return g.conflict(other, ours)
		}
	}
	return nil
}

// clash finds the declared address that an address of the link conflicts with.
func (g Gateway) clash(other netip.Prefix) (netip.Prefix, bool) {
	// Every link has an address of its own beside that of a router such as fe80::1.
	if slices.Contains(g.Prefixes, other) || other.Addr().Is6() && other.Addr().IsLinkLocalUnicast() {
		return netip.Prefix{}, false
	}
	for _, p := range g.Prefixes {
		if p.Addr().Is4() == other.Addr().Is4() && (p.Addr().Is4() || p.Overlaps(other)) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func (g Gateway) drop(k *kernel.Kernel, added []state.Address) error {
	link, err := k.Host.Link(g.Link)
	if err != nil {
		return state.IgnoreNotFound(err)
	}
	var errs []error
	for _, a := range added {
		if err := k.Host.AddrDel(link, &netlink.Addr{IPNet: state.IPNet(a.Prefix)}); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("ip addr del %s dev %s: %w", a.Prefix, a.Link, err))
		}
	}
	return errors.Join(errs...)
}

// Verify looks for every address.
func (g Gateway) Verify(k *kernel.Kernel) error {
	var errs []error
	for _, p := range g.Prefixes {
		errs = append(errs, state.Address{In: state.Host, Link: g.Link, Prefix: p}.Verify(k))
	}
	return errors.Join(errs...)
}
