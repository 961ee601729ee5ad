// Package bridging declares bridges: the bridge, its gateway addresses, the VLANs of its ports. It needs CAP_NET_ADMIN in
// the host's namespace.
package bridging

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Bridge is a bridge on the host, up, with an address of its own that does not change as ports come and go.
type Bridge struct {
	Name string
	// MTU in bytes for a bridge that is made; 0 means the MTU of the path to the outside.
	MTU int
	// Promisc makes the bridge receive all frames. False leaves a bridge as it is that fairway did not make.
	Promisc bool
	// VLANFiltering makes ports belong to VLANs. False leaves a bridge as it is that fairway did not make, or that has ports
	// in VLANs.
	VLANFiltering bool
}

var _ state.Readier = Bridge{}

func (b Bridge) String() string {
	text := "ip link add " + b.Name
	if b.MTU > 0 {
		text += fmt.Sprintf(" mtu %d", b.MTU)
	}
	text += " up type bridge"
	if b.VLANFiltering {
		text += " vlan_filtering 1"
	}
	if b.Promisc {
		text += " && ip link set " + b.Name + " promisc on"
	}
	return text
}

// Ensure makes the bridge, or adopts an existing one: it is raised, and keeps its address and MTU from then on.
func (b Bridge) Ensure(k *kernel.Kernel) (bool, error) {
	link, err := k.Host.Link(b.Name)
	created := false
	if kernel.IsNotFound(err) {
		if created, err = b.add(k); err == nil {
			link, err = k.Host.Link(b.Name)
		}
	}
	if err != nil {
		return created, err
	}
	if err := state.AsVanished(b.adopt(k, link)); err != nil {
		if created {
			err = errors.Join(err, b.Remove(k))
		}
		return false, err
	}
	return created, nil
}

func (b Bridge) add(k *kernel.Kernel) (bool, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Group = b.Name, state.MTUOrPath(k, b.MTU), state.BridgeGroup
	attrs.HardwareAddr, attrs.Flags = state.BridgeMAC(b.Name), net.FlagUp
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if b.VLANFiltering {
		bridge.VlanFiltering = &b.VLANFiltering
	}
	switch err := k.Host.LinkAdd(bridge); {
	case errors.Is(err, unix.EEXIST):
		return false, nil // another ADD was faster
	case b.VLANFiltering && errors.Is(err, unix.EOPNOTSUPP):
		return false, vlanError(err)
	case err != nil:
		return false, fmt.Errorf("%s: %w", b, err)
	}
	state.SkipDetection(k, b.Name)
	return true, nil
}

// adopt brings an existing link to what the bridge declares.
func (b Bridge) adopt(k *kernel.Kernel, link netlink.Link) error {
	bridge, err := b.asBridge(link)
	if err != nil {
		return err
	}
	// Before a container can reach it (CVE-2020-10749).
	state.IgnoreRouters(k, b.Name)
	if err := b.settleVLANs(k, bridge); err != nil {
		return err
	}
	if err := b.settlePromisc(k, bridge); err != nil {
		return err
	}
	if err := b.pinAddress(k, bridge); err != nil {
		return err
	}
	if bridge.Group == 0 {
		if err := k.Host.LinkSetGroup(bridge, state.BridgeGroup); err != nil {
			return fmt.Errorf("ip link set %s group %d: %w", b.Name, state.BridgeGroup, err)
		}
	}
	if bridge.Flags&net.FlagUp == 0 {
		if err := k.Host.LinkSetUp(bridge); err != nil {
			return fmt.Errorf("ip link set %s up: %w", b.Name, err)
		}
	}
	return nil
}

// pinAddress keeps the bridge's address as it is: one that nobody has set follows the lowest of its ports, and whoever has it as
// a gateway sends to the old one for half a minute. Without a port there is none to keep.
func (b Bridge) pinAddress(k *kernel.Kernel, bridge *netlink.Bridge) error {
	mac := bridge.HardwareAddr
	switch {
	case bytes.Equal(mac, state.BridgeMAC(b.Name)), bridge.Group != 0 && !followsPorts(b.Name):
		return nil
	case bytes.Equal(mac, make([]byte, len(mac))):
		mac = state.HostMAC("adopted bridge", b.Name) // not what Discard takes for a bridge that fairway made
	}
	if err := k.Host.LinkSetHardwareAddr(bridge, mac); err != nil {
		return fmt.Errorf("ip link set %s address %s: %w", b.Name, mac, err)
	}
	return nil
}

// followsPorts says whether the address of a bridge in a group of links has not been set by anybody, as earlier versions
// left it. Where sysfs does not tell, it has.
func followsPorts(name string) bool {
	kind, err := os.ReadFile("/sys/class/net/" + name + "/addr_assign_type")
	const set = "3" // NET_ADDR_SET
	return err == nil && strings.TrimSpace(string(kind)) != set
}

// Made says whether fairway made a bridge: its address tells.
func (b Bridge) Made(link netlink.Link) bool {
	return link.Type() == "bridge" && bytes.Equal(link.Attrs().HardwareAddr, state.BridgeMAC(b.Name))
}

// settleVLANs turns the filter on, or off again.
func (b Bridge) settleVLANs(k *kernel.Kernel, bridge *netlink.Bridge) error {
	on := bridge.VlanFiltering != nil && *bridge.VlanFiltering
	switch {
	case on == b.VLANFiltering:
		return nil
	case on:
		if spared, err := b.sparesFilter(k, bridge); spared || err != nil {
			return err
		}
	}
	// Without the link's other attributes, which the library would send back: the kernel refuses some of a bridge with ports.
	// Nor its index, which beside the name would be a wish to rename it: EBUSY before Linux 6.2 for a link that is up.
	only := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: b.Name, TxQLen: -1}}
	if err := k.Host.BridgeSetVlanFiltering(only, b.VLANFiltering); err != nil {
		return fmt.Errorf("ip link set %s type bridge vlan_filtering %d: %w", b.Name, digit(b.VLANFiltering), vlanError(err))
	}
	return nil
}

// sparesFilter says whether the filter is not to be turned off: somebody else's, or one that keeps ports apart.
func (b Bridge) sparesFilter(k *kernel.Kernel, bridge *netlink.Bridge) (bool, error) {
	if !b.Made(bridge) {
		return true, nil
	}
	ports, err := portsOf(k, bridge)
	if err != nil {
		return false, err
	}
	list, err := k.Host.BridgeVlanList()
	if err != nil {
		return false, fmt.Errorf("bridge vlan show: %w", vlanError(err))
	}
	for _, port := range ports {
		for _, vlan := range list[int32(port.Attrs().Index)] {
			if vlan.Vid != defaultVLAN {
				return true, nil
			}
		}
	}
	return false, nil
}

// defaultVLAN is the VLAN of ports for which none is declared (default_pvid).
const defaultVLAN = 1

// settlePromisc sets what `ip link set promisc` does. A capture makes a link promiscuous besides, as long as it lasts.
func (b Bridge) settlePromisc(k *kernel.Kernel, bridge *netlink.Bridge) error {
	on := promiscuous(bridge)
	switch {
	case b.Promisc && !on:
		if err := k.Host.SetPromiscOn(bridge); err != nil {
			return fmt.Errorf("ip link set %s promisc on: %w", b.Name, err)
		}
	case !b.Promisc && on && b.Made(bridge):
		if err := k.Host.SetPromiscOff(bridge); err != nil {
			return fmt.Errorf("ip link set %s promisc off: %w", b.Name, err)
		}
	}
	return nil
}

func promiscuous(link netlink.Link) bool { return link.Attrs().RawFlags&unix.IFF_PROMISC != 0 }

func digit(on bool) int {
	if on {
		return 1
	}
	return 0
}

// inUse says whether a bridge has ports other than the host's interfaces in its VLANs.
func inUse(k *kernel.Kernel, bridge string) (bool, error) {
	link, err := k.Host.LinkNow(bridge)
	if err != nil {
		return false, state.IgnoreNotFound(err)
	}
	ports, err := portsOf(k, link)
	return slices.ContainsFunc(ports, func(port netlink.Link) bool { return port.Attrs().Alias != state.BridgeTag(bridge) }), err
}

// portsOf lists the ports of a bridge.
func portsOf(k *kernel.Kernel, bridge netlink.Link) (ports []netlink.Link, err error) {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link show master %s: %w", bridge.Attrs().Name, err)
	}
	for _, link := range links {
		if link.Attrs().MasterIndex == bridge.Attrs().Index {
			ports = append(ports, link)
		}
	}
	return ports, nil
}

// Ready says whether the name is a bridge's, or free.
func (b Bridge) Ready(k *kernel.Kernel) error {
	link, err := k.Host.Link(b.Name)
	if kernel.IsNotFound(err) {
		return b.probe()
	}
	if err != nil {
		return err
	}
	bridge, err := b.asBridge(link)
	if err != nil || bridge.VlanFiltering != nil && *bridge.VlanFiltering {
		return err
	}
	return b.probe()
}

// probe says whether the kernel could make the bridge, by making it in a network namespace that ends with the thread.
func (b Bridge) probe() error {
	if !b.VLANFiltering {
		return nil // what every kernel with bridges has, ADD finds out
	}
	return kernel.InEmpty(func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = b.Name
		return vlanError(h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, VlanFiltering: &b.VLANFiltering}))
	})
}

func (b Bridge) asBridge(link netlink.Link) (*netlink.Bridge, error) {
	bridge, ok := link.(*netlink.Bridge)
	if !ok {
		return nil, fmt.Errorf("link %s is a %s, %w: name a bridge in key bridge, or a link that does not exist yet", b.Name, link.Type(), state.ErrConflict)
	}
	return bridge, nil
}

// Verify looks for a bridge that is up.
func (b Bridge) Verify(k *kernel.Kernel) error {
	link, err := k.Host.Link(b.Name)
	switch {
	case kernel.IsNotFound(err):
		return state.Driftf("bridge %s is gone", b.Name)
	case err != nil:
		return err
	}
	bridge, ok := link.(*netlink.Bridge)
	if !ok {
		return state.Driftf("%s is a %s, not a bridge", b.Name, link.Type())
	}
	var errs []error
	if bridge.Flags&net.FlagUp == 0 {
		errs = append(errs, state.Driftf("bridge %s is down", b.Name))
	}
	if b.Promisc && !promiscuous(bridge) {
		errs = append(errs, state.Driftf("bridge %s is not promiscuous", b.Name))
	}
	if b.VLANFiltering && (bridge.VlanFiltering == nil || !*bridge.VlanFiltering) {
		errs = append(errs, state.Driftf("bridge %s does not filter VLANs", b.Name))
	}
	return errors.Join(append(errs, state.VerifyIgnoresRouters(k, b.Name))...)
}

// Remove removes the bridge, and the host's interfaces in its VLANs, unless it has other ports.
func (b Bridge) Remove(k *kernel.Kernel) error {
	return k.TakeBack(func() error { return b.remove(k) })
}

func (b Bridge) remove(k *kernel.Kernel) error {
	used, err := inUse(k, b.Name)
	if used || err != nil {
		return err
	}
	link, err := k.Host.Link(b.Name)
	if err != nil {
		return state.IgnoreNotFound(err)
	}
	gateways, err := portsOf(k, link)
	if err != nil {
		return err
	}
	for _, gateway := range gateways {
		if err := state.DeleteLink(k.Host, gateway); err != nil {
			return err
		}
	}
	return state.RemoveLink(k.Host, b.Name)
}
