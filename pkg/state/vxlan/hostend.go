package vxlan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// HostEnd makes the host's end of a container's veth a point of a routed network: it answers for the container's
// gateways, and the host routes the container's addresses to it. It goes with the veth.
type HostEnd struct {
	state.Attribute
	Owner state.Owner
	// Gateways are the addresses that the container sends through.
	Gateways []netip.Addr
	// Addresses are the container's.
	Addresses []netip.Addr
	// Network is the link by which the network's other hosts are reached.
	Network string
}

func (h HostEnd) String() string {
	link := h.Owner.HostLink()
	lines := []string{"sysctl -w " + state.AcceptRA(link) + "=0"}
	for _, addr := range h.Gateways {
		lines = append(lines, state.Address{Link: link, Prefix: gatewayPrefix(addr)}.String())
	}
	for _, addr := range h.Addresses {
		lines = append(lines, fmt.Sprintf("ip route replace %s dev %s proto %d", state.HostPrefix(addr), link, state.RouteProtocol))
	}
	return strings.Join(lines, " && ")
}

// Ensure adds the addresses and the routes. A route that an earlier holder of an address has left is replaced.
func (h HostEnd) Ensure(k *kernel.Kernel) (bool, error) {
	link, err := k.Host.Link(h.Owner.HostLink())
	if err != nil {
		return false, err
	}
	state.IgnoreRouters(k, h.Owner.HostLink())
	errs, err := state.Configure(k, h.Owner.HostLink(), h.requests(link.Attrs().Index))
	for i, one := range errs {
		if errors.Is(one, unix.EEXIST) {
			errs[i] = nil // an address, of an earlier try
		}
	}
	if err = errors.Join(append(errs, err)...); err != nil {
		return false, fmt.Errorf("%s: %w", h, state.AsVanished(err))
	}
	// The network's device may have gone with the ADD that made it and failed.
	if _, err := k.Host.LinkNow(h.Network); err != nil {
		return false, fmt.Errorf("%w: %w", err, state.ErrVanished)
	}
	return true, nil
}

func (h HostEnd) requests(link int) (requests []kernel.Message) {
	for _, addr := range h.Gateways {
		requests = append(requests, kernel.AddressEntry{Link: link, Prefix: gatewayPrefix(addr)}.Add())
	}
	for _, addr := range h.Addresses {
		requests = append(requests, h.route(link, addr).Add(unix.NLM_F_REPLACE))
	}
	return requests
}

func (h HostEnd) route(link int, addr netip.Addr) kernel.RouteEntry {
	return kernel.RouteEntry{Dst: state.HostPrefix(addr), Type: unix.RTN_UNICAST, Protocol: state.RouteProtocol, Link: link}
}

// Verify looks for the addresses and the routes.
func (h HostEnd) Verify(k *kernel.Kernel) error {
	link, err := k.Host.Link(h.Owner.HostLink())
	if err != nil {
		return state.IgnoreNotFound(err) // the veth's own Verify says so
	}
	index := link.Attrs().Index
	addresses, err := k.Addresses(index)
	if err != nil {
		return err
	}
	errs := []error{state.VerifyIgnoresRouters(k, h.Owner.HostLink())}
	for _, addr := range h.Gateways {
		if !slices.Contains(addresses, kernel.AddressEntry{Link: index, Prefix: gatewayPrefix(addr)}) {
			errs = append(errs, state.Driftf("%s has no address %s", h.Owner.HostLink(), addr))
		}
	}
	routes, err := k.Routes(state.RouteProtocol)
	if err != nil {
		return err
	}
	for _, addr := range h.Addresses {
		if !slices.ContainsFunc(routes, func(r kernel.RouteEntry) bool { return r.Link == index && r.Dst == state.HostPrefix(addr) }) {
			errs = append(errs, state.Driftf("no route to %s through %s", state.HostPrefix(addr), h.Owner.HostLink()))
		}
	}
	return errors.Join(errs...)
}

// gatewayPrefix is a gateway's address as the host's end has it. That of a link has the link's prefix.
func gatewayPrefix(addr netip.Addr) netip.Prefix {
	if addr.IsLinkLocalUnicast() && addr.Is6() {
		return netip.PrefixFrom(addr, 64)
	}
	return state.HostPrefix(addr)
}
