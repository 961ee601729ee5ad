package vxlan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// VXLAN is the device by which a host takes part in an overlay network: it sends to peers it is told of, floods nothing
// and learns nothing. It is up, in the device group of the network, and has the network's name in its alias, set last: a
// device without one is not complete.
type VXLAN struct {
	Network string
	Name    string
	// VNI is the network's identifier, Port the UDP port.
	VNI  uint32
	Port uint16
	// Local is the address that the device sends from, and MAC the one that peers send to.
	Local netip.Addr
	MAC   net.HardwareAddr
	// MTU in bytes.
	MTU int
	// Addresses are the host's own in the network.
	Addresses []netip.Addr
}

func (v VXLAN) String() string {
	lines := []string{fmt.Sprintf("ip link add %s address %s mtu %d group %d type vxlan id %d local %s dstport %d nolearning",
		v.Name, v.MAC, v.MTU, state.Group(v.Network), v.VNI, v.Local, v.Port)}
	lines = append(lines,
		"sysctl -w "+state.AcceptRA(v.Name)+"=0",
		"ip link set "+v.Name+" up")
	for _, addr := range v.Addresses {
		lines = append(lines, state.Address{Link: v.Name, Prefix: state.HostPrefix(addr)}.String())
	}
	return strings.Join(lines, " && ")
}

// Ensure makes the device, or brings one that is there to what is declared. One that has another VNI, port or family is
// made anew, as the kernel cannot change these: what lies on it, routes and neighbours, goes.
func (v VXLAN) Ensure(k *kernel.Kernel) (bool, error) {
	link, err := v.find(k)
	if err != nil {
		return false, err
	}
	if link != nil && v.beyondRepair(link) {
		if err := state.RemoveLink(k.Host, v.Name); err != nil {
			return false, err
		}
		link = nil
	}
	created := false
	if link == nil {
		if link, created, err = v.add(k); err != nil {
			return created, err
		}
	}
	return created, errors.Join(v.repair(k, link), v.addresses(link).Settle(k))
}

// find looks for the device. Nil: there is none. A link of that name which is not the network's is an error that wraps
// ErrConflict.
func (v VXLAN) find(k *kernel.Kernel) (*netlink.Vxlan, error) {
	link, err := k.Host.LinkNow(v.Name)
	if kernel.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	device, ok := link.(*netlink.Vxlan)
	if !ok {
		return nil, fmt.Errorf("link %s is a %s, %w: remove it, or choose another vni", v.Name, link.Type(), state.ErrConflict)
	}
	if device.Alias != "" && device.Alias != state.OverlayTag(v.Network) {
		return nil, fmt.Errorf("vni %d is that of %s on this host, %w: choose another vni", v.VNI, describeAlias(device.Alias), state.ErrConflict)
	}
	return device, nil
}

func describeAlias(alias string) string {
	if network, ok := strings.CutPrefix(alias, state.OverlayPrefix); ok {
		return "network " + network
	}
	return fmt.Sprintf("a link whose alias is %q", alias)
}

// add makes the device, not up yet: routers may not advertise themselves on it.
func (v VXLAN) add(k *kernel.Kernel) (link *netlink.Vxlan, created bool, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr, attrs.Group = v.Name, v.MTU, v.MAC, state.Group(v.Network)
	// What is in the way may be going while we look: another ADD's device. What still is not seen then lies elsewhere.
	const tries = 3
	for range tries {
		err = k.Host.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, VxlanId: int(v.VNI), SrcAddr: v.Local.AsSlice(), Port: int(v.Port)})
		switch {
		case errors.Is(err, unix.EOPNOTSUPP):
			return nil, false, fmt.Errorf("%s: VXLAN (CONFIG_VXLAN) is %w: %w", v.Name, state.ErrUnsupported, err)
		case err != nil && !errors.Is(err, unix.EEXIST):
			return nil, false, fmt.Errorf("ip link add %s type vxlan: %w", v.Name, err)
		}
		created = err == nil
		link, err = v.find(k)
		switch {
		case err != nil || link != nil:
			return link, created, err
		case created:
			return nil, false, fmt.Errorf("%s: %w", v.Name, state.ErrVanished)
		}
		if err := v.sameVNI(k); err != nil {
			return nil, false, err
		}
	}
	// The kernel keeps a VNI for the namespace in which a device was made, wherever that is now: Docker's Swarm moves its own.
	return nil, false, fmt.Errorf("vni %d is that of a VXLAN device which was made on this host and moved to another namespace, %w: choose another vni (Docker's begin at 4096)",
		v.VNI, state.ErrConflict)
}

// sameVNI names the link that keeps the kernel from making a device of the VNI. Nil: this namespace has none.
func (v VXLAN) sameVNI(k *kernel.Kernel) error {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return fmt.Errorf("ip link show: %w", err)
	}
	for _, link := range links {
		if device, ok := link.(*netlink.Vxlan); ok && device.VxlanId == int(v.VNI) && device.Port == int(v.Port) {
			return fmt.Errorf("vni %d is that of link %s on this host, %w: choose another vni", v.VNI, device.Name, state.ErrConflict)
		}
	}
	return nil
}

// Verify compares the device with what is declared.
func (v VXLAN) Verify(k *kernel.Kernel) error {
	link, err := v.find(k)
	if err != nil {
		return err
	}
	if link == nil {
		return state.Driftf("link %s is gone from the host's namespace", v.Name)
	}
	var errs []error
	if v.beyondRepair(link) {
		errs = append(errs, state.Driftf("%s has VNI %d, port %d and sends from %s, instead of %d, %d and %s",
			v.Name, link.VxlanId, link.Port, link.SrcAddr, v.VNI, v.Port, v.Local))
	}
	for _, d := range v.deviations(link) {
		errs = append(errs, state.Driftf("%s %s", v.Name, d.text))
	}
	return errors.Join(append(errs, v.addresses(link).Verify(k))...)
}

// Remove deletes the device, if it is the network's.
func (v VXLAN) Remove(k *kernel.Kernel) error {
	link, err := v.find(k)
	if err != nil || link == nil {
		return err
	}
	return state.DeleteLink(k.Host, link)
}

// mark completes the network's device, which is one by name.
func mark(k *kernel.Kernel, device, network string) error {
	link, err := k.Host.LinkNow(device)
	switch {
	case kernel.IsNotFound(err):
		return fmt.Errorf("%s: %w", device, state.ErrVanished)
	case err != nil || link.Attrs().Alias != "":
		return err
	}
	if err := k.Host.LinkSetAlias(link, state.OverlayTag(network)); err != nil {
		return fmt.Errorf("ip link set %s alias: %w", device, state.AsVanished(err))
	}
	return nil
}
