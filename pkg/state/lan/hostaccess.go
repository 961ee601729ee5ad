package lan

import (
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/claims"
	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Lender lends a host its own addresses in a network.
type Lender interface {
	// Lend gives the addresses, the same ones until they are given back.
	Lend() ([]netip.Addr, error)
	// GiveBack gives them back. Absence is success.
	GiveBack() error
}

// HostAccess is a way between the host and a container on a macvlan network. The kernel passes no frame between a master
// and its macvlans, so that the host gets a macvlan of its own beside the containers', the shim: one for each network, with
// addresses of the network, a route to each container, and gone with the last of them.
type HostAccess struct {
	Owner  state.Owner
	Master Master
	// Addresses of the container. None: there is no way to make.
	Addresses []netip.Addr
	// Lender of the shim's addresses.
	Lender Lender
}

// HostOwner is who has the host's own addresses in a network. The name of the interface is the shim's.
func HostOwner(network string) state.Owner {
	sum := state.Owner{Network: network}.Sum()
	name := base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:7])
	return state.Owner{Network: network, ContainerID: "fairway-host", IfName: "shim" + strings.ToLower(name[:11])}
}

func (h HostAccess) shim() string { return HostOwner(h.Owner.Network).IfName }

func (h HostAccess) thing() string { return claimedHost + h.shim() }

func (h HostAccess) String() string {
	if len(h.Addresses) == 0 {
		return ""
	}
	lines := []string{fmt.Sprintf("ip link add link %s name %s up type macvlan mode bridge", h.Master, h.shim())}
	for _, r := range h.routes(h.Addresses) {
		lines = append(lines, r.String())
	}
	return strings.Join(lines, " && ")
}

// routes lead to a container's addresses.
func (h HostAccess) routes(addresses []netip.Addr) []state.Route {
	var routes []state.Route
	for _, a := range addresses {
		routes = append(routes, state.Route{In: state.Host, Link: h.shim(), Dst: state.HostPrefix(a)})
	}
	return routes
}

// Ensure makes the shim unless it is there, and the routes.
func (h HostAccess) Ensure(k *kernel.Kernel) (created bool, err error) {
	if len(h.Addresses) == 0 {
		return false, nil
	}
	master, err := h.Master.link(k)
	if err != nil {
		return false, err
	}
	err = withClaims(func(book *claims.Book) error {
		claim := claims.Claim{Owner: claims.Owner(h.Owner), Addresses: h.Addresses}
		if err := book.Put(h.thing(), claim); err != nil {
			return err
		}
		if err := h.build(k, master, book); err != nil {
			return errors.Join(err, h.free(k)(book, h.thing(), claim))
		}
		created = true
		return nil
	})
	return created, err
}

// build makes what is missing. Routes go when a link is down: the way to all containers is made anew then.
func (h HostAccess) build(k *kernel.Kernel, master netlink.Link, book *claims.Book) error {
	link, err := h.ensureShim(k, master)
	if err != nil {
		return err
	}
	if link.Attrs().Flags&net.FlagUp != 0 {
		return h.lead(k, link)
	}
	all, err := book.Claims(h.thing())
	if err != nil {
		return err
	}
	for _, c := range all {
		h.Addresses = append(slices.Clone(h.Addresses), c.Addresses...)
	}
	if err := h.ensureAddresses(k, link); err != nil {
		return err
	}
	if err := k.Host.LinkSetUp(link); err != nil {
		return fmt.Errorf("ip link set %s up: %w", h.shim(), err)
	}
	return h.lead(k, link)
}

// lead leads to the addresses through the shim, which gets addresses of their families.
func (h HostAccess) lead(k *kernel.Kernel, link netlink.Link) error {
	if err := h.ensureAddresses(k, link); err != nil {
		return err
	}
	for _, route := range h.routes(h.Addresses) {
		if _, err := route.Ensure(k); err != nil {
			return err
		}
	}
	return nil
}

// ensureShim makes the shim, down until it has its addresses.
func (h HostAccess) ensureShim(k *kernel.Kernel, master netlink.Link) (netlink.Link, error) {
	link, err := k.Host.LinkNow(h.shim())
	if err == nil && link.Attrs().ParentIndex != lower(master) {
		return nil, failure.Of(state.ErrConflict, "the host's link %s in network %s does not lie on master %s: remove the containers on the other master first",
			h.shim(), h.Owner.Network, master.Attrs().Name)
	}
	if !kernel.IsNotFound(err) {
		return link, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.Group = h.shim(), master.Attrs().Index, state.HostAccessGroup
	// Machines that were cloned have one machine ID, and on one segment not one MAC.
	attrs.HardwareAddr = state.HostMAC("host access", h.Owner.Network, master.Attrs().HardwareAddr.String())
	if err := k.Host.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
		return nil, fmt.Errorf("ip link add link %s name %s type macvlan: %w", master.Attrs().Name, h.shim(), err)
	}
	// Others on the physical network hear of the host's addresses by the master alone: the shim answers for those it has a
	// route to, which are the containers.
	if err := k.Host.SetSysctl("net/ipv4/conf/"+h.shim()+"/arp_filter", "1"); err != nil {
		return nil, err
	}
	// Nor does it take addresses and routes from there. A host without IPv6 has no such file.
	_ = k.Host.SetSysctl("net/ipv6/conf/"+h.shim()+"/accept_ra", "0")
	state.SkipDetection(k, h.shim())
	return k.Host.Link(h.shim())
}

// ensureAddresses gives the shim addresses of the container's families. They have no subnet: that is the master's.
func (h HostAccess) ensureAddresses(k *kernel.Kernel, link netlink.Link) error {
	found, err := state.LinkAddresses(k.Host, link)
	if err != nil {
		return err
	}
	has := func(is4 bool) bool {
		return slices.ContainsFunc(found, func(a netlink.Addr) bool {
			return a.Scope == unix.RT_SCOPE_UNIVERSE && (a.IP.To4() != nil) == is4
		})
	}
	if !slices.ContainsFunc(h.Addresses, func(a netip.Addr) bool { return !has(a.Is4()) }) {
		return nil
	}
	lent, err := h.Lender.Lend()
	if err != nil {
		return err
	}
	for _, a := range lent {
		if _, err := (state.Address{In: state.Host, Link: h.shim(), Prefix: state.HostPrefix(a)}).Ensure(k); err != nil {
			return err
		}
	}
	return nil
}

// Repair makes the way to the container anew, and with it that to all others, which lose theirs at the same moment: a restart of
// the host's network takes the shim away. So it does with a claim that was lost.
func (h HostAccess) Repair(k *kernel.Kernel) error {
	if len(h.Addresses) == 0 || h.Verify(k) == nil {
		return nil
	}
	master, err := h.Master.link(k)
	if err != nil {
		return nil // Verify says what is missing
	}
	return withClaims(func(book *claims.Book) error {
		if err := book.Put(h.thing(), claims.Claim{Owner: claims.Owner(h.Owner), Addresses: h.Addresses}); err != nil {
			return err
		}
		all, err := book.Claims(h.thing())
		if err != nil {
			return err
		}
		for _, c := range all {
			other := h
			other.Owner, other.Addresses = state.Owner(c.Owner), c.Addresses
			if err := other.build(k, master, book); err != nil {
				return err
			}
		}
		return nil
	})
}

// Verify looks for the shim, for addresses and for the routes.
func (h HostAccess) Verify(k *kernel.Kernel) error {
	if len(h.Addresses) == 0 {
		return nil
	}
	link, err := state.VerifyLink(k.Host, state.Host, h.shim())
	if err != nil {
		return err
	}
	var errs []error
	if link.Attrs().Flags&net.FlagUp == 0 {
		errs = append(errs, state.Driftf("%s is down", h.shim()))
	}
	for _, route := range h.routes(h.Addresses) {
		errs = append(errs, route.Verify(k))
	}
	return errors.Join(append(errs, h.verifyClaim())...)
}

// verifyClaim looks for what DEL goes by.
func (h HostAccess) verifyClaim() error {
	found := false
	err := withExistingClaims(func(book *claims.Book) (err error) {
		_, found, err = book.Claim(h.thing(), claims.Owner(h.Owner))
		return err
	})
	if err == nil && !found {
		return state.Driftf("the record of the host's way to container %s is gone from %s", h.Owner.ContainerID, claimsDir)
	}
	return err
}

// Remove takes away the routes to the owner's container, whatever addresses it has by now, and the shim with the last one.
func (h HostAccess) Remove(k *kernel.Kernel) error {
	return releaseAll(claimedHost, only(h.Owner), h.free(k))
}

// free takes away what a claim on the shim of the network was for.
func (h HostAccess) free(k *kernel.Kernel) release {
	return func(book *claims.Book, thing string, c claims.Claim) error {
		if thing != h.thing() {
			return nil // of another network
		}
		rest, err := others(book, thing, c.Owner)
		if err != nil {
			return err
		}
		if err := h.dropRoutes(k, c, rest); err != nil {
			return err
		}
		if len(rest) == 0 {
			if err := h.removeShim(k); err != nil {
				return err
			}
		}
		return book.Drop(thing, c.Owner)
	}
}

// dropRoutes removes the routes of a claim, except to addresses that somebody else has by now.
func (h HostAccess) dropRoutes(k *kernel.Kernel, c claims.Claim, rest []claims.Claim) error {
	link, err := k.Host.LinkNow(h.shim())
	if err != nil {
		return state.IgnoreNotFound(err)
	}
	var errs []error
	for _, a := range c.Addresses {
		if slices.ContainsFunc(rest, func(other claims.Claim) bool { return slices.Contains(other.Addresses, a) }) {
			continue
		}
		err := k.Host.RouteDel(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: state.IPNet(state.HostPrefix(a)), Scope: netlink.SCOPE_LINK})
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("ip route del %s dev %s: %w", a, h.shim(), err))
		}
	}
	return errors.Join(errs...)
}

// removeShim gives the addresses back when the link that has them is gone.
func (h HostAccess) removeShim(k *kernel.Kernel) error {
	if err := removeGrouped(k, h.shim(), state.HostAccessGroup); err != nil || h.Lender == nil {
		return err
	}
	return h.Lender.GiveBack()
}
