// Package vxlan declares a host's part of an overlay network: the VXLAN device and its peers, or the tunnel of an encrypted
// network (package wireguard) in their place, and the host's ends of containers. It needs CAP_NET_ADMIN in the host's namespace.
package vxlan

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
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
	// Device, of an encrypted network, is its tunnel's: no VXLAN device is made.
	Device VXLAN
	// Peers, of an encrypted network, is its unreachable routes alone, without a link.
	Peers PeerTable
	// Encrypted is nil unless the network is encrypted.
	Encrypted *Encrypted
	// Subnets are the network's, no part of which may be somebody else's on this host.
	Subnets []netip.Prefix
	// Attended says that a node agent keeps all this as it has to be. A device that is complete is left to it, as long as
	// there are filters.
	Attended bool
}

// Encrypted is what an encrypted network has instead of a VXLAN device and its peers.
type Encrypted struct {
	Filter ruleset.Encryption
	Tunnel Tunnel
}

// Tunnel is the way of an encrypted network between hosts: a device, its peers and the routes to them.
type Tunnel interface {
	state.Object
	// Look says whether the device is there, and as declared but for addresses and peers. A link of its name that is not the
	// network's is an error that wraps ErrConflict.
	Look(k *kernel.Kernel) (there, sound bool, err error)
	// Advance changes what differs from what is in place, as Overlay's.
	Advance(k *kernel.Kernel, before Tunnel) (ok bool, err error)
}

var (
	_ state.Readier  = Overlay{}
	_ state.Repairer = Overlay{}
	_ state.Retirer  = Overlay{}
)

// parts are in the order in which they are made. Of an encrypted network, what refuses any other way comes before what leads
// anywhere: whatever fails or is killed in between, nothing passes in clear.
func (o Overlay) parts() state.Set {
	if o.Encrypted != nil {
		return state.Set{o.Encrypted.Filter, o.Isolation, o.Filter, o.Peers, o.Encrypted.Tunnel}
	}
	return state.Set{o.Isolation, o.Filter, o.Device, o.Peers}
}

// look says whether the device is there, and complete: as declared, with the alias that is set last.
func (o Overlay) look(k *kernel.Kernel) (there, complete bool, err error) {
	if o.Encrypted == nil {
		link, err := o.Device.find(k)
		if link == nil || err != nil {
			return false, false, err
		}
		return true, link.Alias != "" && !o.Device.beyondRepair(link) && len(o.Device.deviations(link)) == 0, nil
	}
	there, complete, err = o.Encrypted.Tunnel.Look(k)
	if !there || !complete || err != nil {
		return there, false, err
	}
	link, err := k.Host.Link(o.Device.Name)
	return err == nil, err == nil && link.Attrs().Alias != "", state.IgnoreNotFound(err)
}

func (o Overlay) String() string {
	var lines []string
	for _, part := range o.parts() {
		lines = append(lines, part.String())
	}
	return strings.Join(lines, " && ")
}

// Ensure makes what is missing and repairs what differs.
func (o Overlay) Ensure(k *kernel.Kernel) (bool, error) {
	there, complete, err := o.look(k)
	if err != nil {
		return false, err
	}
	if o.Attended && complete {
		if stands, err := o.filtersStand(k); stands || err != nil {
			return false, err
		}
	}
	if !there {
		if err := o.takePlace(k); err != nil {
			return false, err
		}
	}
	created := false
	for _, part := range o.parts() {
		made, err := part.Ensure(k)
		created = created || made
		// There was nothing before. What an agent attends to it is about to make, and may have begun.
		if err != nil && !there && !(o.Attended && o.Encrypted != nil) {
			err = errors.Join(err, o.Remove(k))
		}
		if err != nil {
			return false, err
		}
	}
	return created, mark(k, o.Device.Name, o.Device.Network)
}

// takePlace takes away what the network has in another form, and looks for others in its subnets. What was in clear is refused
// before, and what was encrypted is let go of only by a definition that says so.
func (o Overlay) takePlace(k *kernel.Kernel) error {
	if o.Encrypted == nil {
		if err := errors.Join(o.removeOthers(k), o.conflict(k)); err != nil {
			return err
		}
		return ruleset.Encryption{Network: o.Device.Network}.Remove(k)
	}
	if err := o.conflict(k); err != nil {
		return err // before a filter that would cut off whoever has the subnet
	}
	if _, err := o.Encrypted.Filter.Ensure(k); err != nil {
		return err
	}
	return o.removeOthers(k)
}

// filtersStand looks at the least by which one can tell that somebody has flushed the rules.
func (o Overlay) filtersStand(k *kernel.Kernel) (bool, error) {
	stands, err := o.Isolation.Stands(k)
	if !stands || err != nil {
		return false, err
	}
	if o.Encrypted != nil {
		if stands, err := o.Encrypted.Filter.Stands(k); !stands || err != nil {
			return false, err
		}
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
		link, err := k.Host.LinkAt(r.Link)
		if !r.Occupies(subnet, err == nil && link.Attrs().Flags&net.FlagPointToPoint != 0) {
			return "", false
		}
		switch {
		case err != nil:
			return fmt.Sprintf("the host's route to %s", r.Dst), true
		case strings.HasPrefix(link.Attrs().Alias, state.OverlayPrefix): // an address of a device, for IPv6
			return fmt.Sprintf("%s of %s", r.Dst, describeAlias(link.Attrs().Alias)), link.Attrs().Alias != state.OverlayTag(o.Device.Network)
		case link.Attrs().Alias == "" && link.Attrs().Group == state.Group(o.Device.Network):
			return "", false // the network's device, which another ADD is making
		}
		return fmt.Sprintf("the host's route to %s through %s", r.Dst, link.Attrs().Name), true
	}
	if r.Type != unix.RTN_UNREACHABLE || r.Metric == o.Device.VNI {
		return "", false
	}
	devices, err := overlayDevices(k, func(d device) bool { return d.vni == r.Metric })
	if err != nil || len(devices) == 0 {
		return fmt.Sprintf("%s of an overlay network whose vni is %d", r.Dst, r.Metric), true
	}
	alias := devices[0].Attrs().Alias
	return fmt.Sprintf("%s of %s", r.Dst, describeAlias(alias)), alias != state.OverlayTag(o.Device.Network)
}

// device is that of an overlay network, encrypted or not.
type device struct {
	netlink.Link
	vni uint32
}

// overlayDevices lists the devices of overlay networks that match.
func overlayDevices(k *kernel.Kernel, match func(device) bool) (found []device, err error) {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link show: %w", err)
	}
	for _, link := range links {
		if !strings.HasPrefix(link.Attrs().Alias, state.OverlayPrefix) {
			continue
		}
		if d := (device{link, vniOf(link)}); match(d) {
			found = append(found, d)
		}
	}
	return found, nil
}

// vniOf is the identifier of the network that a device is of: that of a tunnel is in its name.
func vniOf(link netlink.Link) uint32 {
	if d, ok := link.(*netlink.Vxlan); ok {
		return uint32(d.VxlanId)
	}
	vni, _ := strconv.ParseUint(strings.TrimLeft(link.Attrs().Name, "abcdefghijklmnopqrstuvwxyz"), 10, 32)
	return uint32(vni)
}

// removeOthers removes other devices that the network has: its definition was changed.
func (o Overlay) removeOthers(k *kernel.Kernel) error {
	tag := state.OverlayTag(o.Device.Network)
	others, err := overlayDevices(k, func(d device) bool { return d.Attrs().Alias == tag && d.Attrs().Name != o.Device.Name })
	for _, d := range others {
		slog.Warn("the network had another device", "network", o.Device.Network, "removed", d.Attrs().Name)
		err = errors.Join(err, state.DeleteLink(k.Host, d.Link))
		if d.vni != o.Device.VNI {
			err = errors.Join(err, removeUnreachable(k, d.vni))
		}
	}
	return err
}

// Ready says whether the network's names are free on this host, and nftables can be used.
func (o Overlay) Ready(k *kernel.Kernel) error {
	there, _, err := o.look(k)
	if err == nil && !there {
		err = o.conflict(k)
		if o.Encrypted == nil {
			err = errors.Join(err, o.Device.sameVNI(k))
		}
	}
	if o.Encrypted != nil {
		if tunnel, ok := o.Encrypted.Tunnel.(state.Readier); ok {
			err = errors.Join(err, tunnel.Ready(k))
		}
	}
	return errors.Join(err, nftable.Ready(k))
}

// Verify compares all parts with what is declared, or the device and whether there are filters when an agent attends to the
// rest.
func (o Overlay) Verify(k *kernel.Kernel) error {
	if o.Encrypted == nil {
		if err := o.Device.Verify(k); err != nil {
			return err
		}
	}
	if !o.Attended {
		return o.parts().Verify(k)
	}
	if o.Encrypted != nil {
		if _, complete, err := o.look(k); err != nil || !complete {
			return errors.Join(err, state.Driftf("link %s is not the complete tunnel of network %s", o.Device.Name, o.Device.Network))
		}
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
	err = errors.Join(o.removeOthers(k), o.parts().Remove(k))
	if o.Encrypted == nil { // by this definition
		err = errors.Join(err, ruleset.Encryption{Network: o.Device.Network}.Remove(k))
	}
	return err
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
