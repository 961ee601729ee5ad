// Package vxlan declares a host's part of an overlay network: the VXLAN device, its peers, and the host's ends of
// containers. It needs CAP_NET_ADMIN in the host's namespace.
package vxlan

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// Overlay is what a host has of an overlay network, whatever containers it has: the device, the way to the peers, and
// what keeps others out. The parts are made in this order, so that no packet passes before the filters stand, and a
// device with its alias has all of them.
type Overlay struct {
	Isolation ruleset.OverlayIsolation
	Filter    ruleset.SourceFilter
	Device    VXLAN
	Peers     PeerTable
	// Subnets are the network's, no part of which may be somebody else's on this host.
	Subnets []netip.Prefix
	// Attended says that a node agent keeps all this as it has to be. A device that is complete is left to it, as long as
	// there are filters.
	Attended bool
}

var (
	_ state.Readier  = Overlay{}
	_ state.Repairer = Overlay{}
	_ state.Retirer  = Overlay{}
)

// parts are in the order in which they are made.
func (o Overlay) parts() state.Set { return state.Set{o.Isolation, o.Filter, o.Device, o.Peers} }

func (o Overlay) String() string {
	var lines []string
	for _, part := range o.parts() {
		lines = append(lines, part.String())
	}
	return strings.Join(lines, " && ")
}

// Ensure makes what is missing and repairs what differs.
func (o Overlay) Ensure(k *kernel.Kernel) (bool, error) {
	link, err := o.Device.find(k)
	if err != nil {
		return false, err
	}
	complete := link != nil && link.Alias != "" && !o.Device.beyondRepair(link) && len(o.Device.deviations(link)) == 0
	if o.Attended && complete {
		if stands, err := o.filtersStand(k); stands || err != nil {
			return false, err
		}
	}
	if link == nil {
		if err := errors.Join(o.removeOthers(k), o.conflict(k)); err != nil {
			return false, err
		}
	}
	created := false
	for _, part := range o.parts() {
		made, err := part.Ensure(k)
		created = created || made
		if err != nil && link == nil {
			err = errors.Join(err, o.Remove(k)) // there was nothing before
		}
		if err != nil {
			return false, err
		}
	}
	return created, o.Device.mark(k)
}

// filtersStand looks at the least by which one can tell that somebody has flushed the rules.
func (o Overlay) filtersStand(k *kernel.Kernel) (bool, error) {
	stands, err := o.Isolation.Stands(k)
	if !stands || err != nil {
		return false, err
	}
	return o.Filter.Stands(k)
}

// conflict looks for others in the subnets.
func (o Overlay) conflict(k *kernel.Kernel) error {
	routes, err := k.Routes(0)
	if err != nil {
		return err
	}
	for _, r := range routes {
		for _, subnet := range o.Subnets {
			if !r.Dst.Overlaps(subnet) {
				continue
			}
			if whose, ok := o.foreign(k, r, subnet); ok {
				return fmt.Errorf("subnet %s overlaps %s, %w: choose another subnet", subnet, whose, state.ErrConflict)
			}
		}
	}
	return nil
}

// foreign says whose a route in a subnet is, unless it is the network's own or nobody's. A route to a container is in another
// network's subnets only when an unreachable one of that network is, too.
func (o Overlay) foreign(k *kernel.Kernel, r kernel.RouteEntry, subnet netip.Prefix) (whose string, ok bool) {
	if r.Protocol != state.RouteProtocol {
		link, err := k.Host.LinkByIndex(r.Link)
		if !r.Occupies(subnet, err == nil && link.Attrs().Flags&net.FlagPointToPoint != 0) {
			return "", false
		}
		switch {
		case err != nil:
			return fmt.Sprintf("the host's route to %s", r.Dst), true
		case strings.HasPrefix(link.Attrs().Alias, state.OverlayPrefix): // an address of a device, for IPv6
			return fmt.Sprintf("%s of %s", r.Dst, describeAlias(link.Attrs().Alias)), link.Attrs().Alias != state.OverlayTag(o.Device.Network)
		}
		return fmt.Sprintf("the host's route to %s through %s", r.Dst, link.Attrs().Name), true
	}
	if r.Type != unix.RTN_UNREACHABLE || r.Metric == o.Device.VNI {
		return "", false
	}
	devices, err := overlayDevices(k, func(d *netlink.Vxlan) bool { return d.VxlanId == int(r.Metric) })
	if err != nil || len(devices) == 0 {
		return fmt.Sprintf("%s of an overlay network whose vni is %d", r.Dst, r.Metric), true
	}
	return fmt.Sprintf("%s of %s", r.Dst, describeAlias(devices[0].Alias)), devices[0].Alias != state.OverlayTag(o.Device.Network)
}

// overlayDevices lists the devices of overlay networks that match.
func overlayDevices(k *kernel.Kernel, match func(*netlink.Vxlan) bool) (found []*netlink.Vxlan, err error) {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link show type vxlan: %w", err)
	}
	for _, link := range links {
		if d, ok := link.(*netlink.Vxlan); ok && strings.HasPrefix(d.Alias, state.OverlayPrefix) && match(d) {
			found = append(found, d)
		}
	}
	return found, nil
}

// removeOthers removes devices that the network has under other VNIs: its definition was changed.
func (o Overlay) removeOthers(k *kernel.Kernel) error {
	tag := state.OverlayTag(o.Device.Network)
	others, err := overlayDevices(k, func(d *netlink.Vxlan) bool { return d.Alias == tag && d.Name != o.Device.Name })
	for _, d := range others {
		slog.Warn("the network had another vni", "network", o.Device.Network, "removed", d.Name)
		err = errors.Join(err, state.DeleteLink(k.Host, d), removeUnreachable(k, uint32(d.VxlanId)))
	}
	return err
}

// Ready says whether the network's names are free on this host, and nftables can be used.
func (o Overlay) Ready(k *kernel.Kernel) error {
	link, err := o.Device.find(k)
	if err == nil && link == nil {
		err = errors.Join(o.conflict(k), o.Device.sameVNI(k))
	}
	return errors.Join(err, nftable.Ready(k))
}

// Verify compares all parts with what is declared, or the device and whether there are filters when an agent attends to the
// rest.
func (o Overlay) Verify(k *kernel.Kernel) error {
	if err := o.Device.Verify(k); err != nil {
		return err
	}
	if !o.Attended {
		return o.parts().Verify(k)
	}
	stands, err := o.filtersStand(k)
	if err == nil && !stands {
		err = state.Driftf("nftables table inet fairway has not the filters of network %s", o.Device.Network)
	}
	return err
}

// Repair puts right what is not a container's. An agent does so unasked, and may know more than this call.
func (o Overlay) Repair(k *kernel.Kernel) error {
	drift := o.Verify(k)
	if drift == nil {
		return nil
	}
	slog.Warn("repairing", "network", o.Device.Network, "drift", drift)
	_, err := o.Ensure(k)
	return err
}

// Remove takes everything away, unless containers of the network are left.
func (o Overlay) Remove(k *kernel.Kernel) error {
	return k.TakeBack(func() error { return o.remove(k) })
}

func (o Overlay) remove(k *kernel.Kernel) error {
	used, err := o.Used(k)
	if err != nil || used {
		return err
	}
	return errors.Join(o.removeOthers(k), o.parts().Remove(k))
}

// Used says whether the host has an end of a container's veth.
func (o Overlay) Used(k *kernel.Kernel) (bool, error) {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return false, fmt.Errorf("ip link show: %w", err)
	}
	for _, link := range links {
		if state.IsHostEnd(link.Attrs(), o.Device.Network) {
			return true, nil
		}
	}
	return false, nil
}

// Retire takes everything away when the network has no container left, unless an agent attends to it.
func (o Overlay) Retire(k *kernel.Kernel) error {
	if o.Attended {
		return nil
	}
	return o.Remove(k)
}
