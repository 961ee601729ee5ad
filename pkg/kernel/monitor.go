package kernel

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Event is a change of a link of the host, of its addresses, or of a default route.
type Event struct {
	// Link is its name; empty when events were missed, of whatever link.
	Link string
	// Default says that it was a default route.
	Default bool
}

// Gone is an entry that was deleted: a route to a destination, a neighbour, or an entry of a device's forwarding database.
type Gone struct {
	// Link is the name of the device; empty for a route without one.
	Link string
	Dst  netip.Prefix
	Addr netip.Addr
	MAC  MAC
	FDB  bool
}

// Monitor calls changed for each change of the host's links, addresses and default routes, and gone for each route of overlay
// networks, neighbour and forwarding entry that is deleted, until the context ends. When the kernel has dropped
// events, because there were too many, changed gets one without a name. Both are called from several goroutines.
func Monitor(ctx context.Context, changed func(Event), gone func(Gone)) error {
	for ctx.Err() == nil {
		if err := monitor(ctx, changed, gone); err != nil {
			return err
		}
		changed(Event{})
	}
	return nil
}

// monitor serves one subscription of each kind. It returns nil when one has ended, as it does when events were dropped.
func monitor(ctx context.Context, changed func(Event), gone func(Gone)) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{}, 4)
	started := 0
	defer func() {
		cancel()
		for range started {
			<-ended
		}
	}()
	serve := func(f func()) {
		started++
		go func() {
			f()
			cancel()
			ended <- struct{}{}
		}()
	}
	ignore := func(error) {} // the subscription ends with it, which is what counts
	links := make(chan netlink.LinkUpdate)
	if err := netlink.LinkSubscribeWithOptions(links, ctx.Done(), netlink.LinkSubscribeOptions{ErrorCallback: ignore}); err != nil {
		return fmt.Errorf("ip monitor link: %w", err)
	}
	serve(func() {
		for update := range links {
			changed(Event{Link: update.Attrs().Name})
		}
	})
	addrs := make(chan netlink.AddrUpdate)
	if err := netlink.AddrSubscribeWithOptions(addrs, ctx.Done(), netlink.AddrSubscribeOptions{ErrorCallback: ignore}); err != nil {
		return fmt.Errorf("ip monitor address: %w", err)
	}
	serve(func() {
		for update := range addrs {
			// A link that is gone has had an event of its own.
			if name := nameOf(update.LinkIndex); name != "" {
				changed(Event{Link: name})
			}
		}
	})
	routes := make(chan netlink.RouteUpdate)
	if err := netlink.RouteSubscribeWithOptions(routes, ctx.Done(), netlink.RouteSubscribeOptions{ErrorCallback: ignore}); err != nil {
		return fmt.Errorf("ip monitor route: %w", err)
	}
	serve(func() {
		for update := range routes {
			routeChanged(update, changed, gone)
		}
	})
	neighbours := make(chan netlink.NeighUpdate)
	if err := netlink.NeighSubscribeWithOptions(neighbours, ctx.Done(), netlink.NeighSubscribeOptions{ErrorCallback: ignore}); err != nil {
		return fmt.Errorf("ip monitor neigh: %w", err)
	}
	serve(func() {
		for update := range neighbours {
			if update.Type == unix.RTM_DELNEIGH {
				neighbourGone(update.Neigh, gone)
			}
		}
	})
	<-ctx.Done()
	return nil
}

// nameOf a link; empty for one that is gone.
func nameOf(index int) string {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return ""
	}
	return link.Attrs().Name
}

// overlayProtocol is that of routes of overlay networks (package state).
const overlayProtocol = 250

func routeChanged(update netlink.RouteUpdate, changed func(Event), gone func(Gone)) {
	bits := 0
	if update.Dst != nil {
		bits, _ = update.Dst.Mask.Size()
	}
	switch {
	case bits == 0:
		changed(Event{Link: nameOf(update.LinkIndex), Default: true})
	case update.Type == unix.RTM_DELROUTE && update.Protocol == overlayProtocol:
		addr, _ := netip.AddrFromSlice(update.Dst.IP)
		e := Gone{Dst: netip.PrefixFrom(addr.Unmap(), bits)}
		if update.Route.Type == unix.RTN_UNICAST {
			e.Link = nameOf(update.LinkIndex)
		}
		gone(e)
	}
}

func neighbourGone(n netlink.Neigh, gone func(Gone)) {
	name := nameOf(n.LinkIndex)
	if name == "" {
		return // it went with its device
	}
	e := Gone{Link: name, FDB: n.Family == unix.AF_BRIDGE}
	if addr, ok := netip.AddrFromSlice(n.IP); ok {
		e.Addr = addr.Unmap()
	}
	copyMAC(&e.MAC, n.HardwareAddr)
	gone(e)
}

func copyMAC(mac *MAC, from net.HardwareAddr) {
	if len(from) == len(mac) {
		*mac = MAC(from)
	}
}
