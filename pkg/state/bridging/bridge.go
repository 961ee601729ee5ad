// Package bridging declares bridges: the bridge, its gateway addresses, the VLANs of its ports. It needs CAP_NET_ADMIN in
// the host's namespace.
package bridging

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
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
	// Promisc makes the bridge receive all frames. False leaves it as it is.
	Promisc bool
	// VLANFiltering makes ports belong to VLANs. False leaves it as it is.
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
	if err := b.adopt(k, link); err != nil {
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
	attrs.HardwareAddr, attrs.Flags = BridgeMAC(b.Name), net.FlagUp
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
	// The routes of a bridge are ours to set. A host without IPv6 has no such file.
	_ = k.Host.SetSysctl("net/ipv6/conf/"+b.Name+"/accept_ra", "0")
	return true, nil
}

// adopt brings an existing link to what the bridge declares.
func (b Bridge) adopt(k *kernel.Kernel, link netlink.Link) error {
	bridge, err := b.asBridge(link)
	if err != nil {
		return err
	}
	if b.VLANFiltering {
		if err := b.filterVLANs(k, bridge); err != nil {
			return err
		}
	}
	if b.Promisc && bridge.Promisc == 0 {
		if err := k.Host.SetPromiscOn(bridge); err != nil {
			return fmt.Errorf("ip link set %s promisc on: %w", b.Name, err)
		}
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
	case bytes.Equal(mac, BridgeMAC(b.Name)), bridge.Group != 0 && !followsPorts(b.Name):
		return nil
	case bytes.Equal(mac, make([]byte, len(mac))):
		mac = state.HostMAC("adopted bridge", b.Name) // not what Discard takes for a bridge that fairway made
	}
	k.Host.Forget(b.Name)
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

// filterVLANs turns the filter on.
func (b Bridge) filterVLANs(k *kernel.Kernel, bridge *netlink.Bridge) error {
	if bridge.VlanFiltering != nil && *bridge.VlanFiltering {
		return nil
	}
	if err := k.Host.BridgeSetVlanFiltering(bridge, true); err != nil {
		return fmt.Errorf("ip link set %s type bridge vlan_filtering 1: %w", b.Name, vlanError(err))
	}
	return nil
}

// Ready says whether the name is a bridge's, or free.
func (b Bridge) Ready(k *kernel.Kernel) error {
	link, err := k.Host.Link(b.Name)
	if kernel.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = b.asBridge(link)
	return err
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
	if b.Promisc && bridge.Promisc == 0 {
		errs = append(errs, state.Driftf("bridge %s is not promiscuous", b.Name))
	}
	if b.VLANFiltering && (bridge.VlanFiltering == nil || !*bridge.VlanFiltering) {
		errs = append(errs, state.Driftf("bridge %s does not filter VLANs", b.Name))
	}
	return errors.Join(errs...)
}

// Remove removes the bridge unless it has ports, which are others'.
func (b Bridge) Remove(k *kernel.Kernel) error {
	k.Host.Forget(b.Name)
	link, err := k.Host.LinkByName(b.Name)
	if kernel.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ip link show %s: %w", b.Name, err)
	}
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return fmt.Errorf("ip link show master %s: %w", b.Name, err)
	}
	for _, port := range links {
		if port.Attrs().MasterIndex == link.Attrs().Index {
			return nil
		}
	}
	return state.RemoveLink(k.Host, b.Name)
}

// BridgeMAC derives a bridge's address from its name and the host: two hosts may have bridges of one name on one segment.
func BridgeMAC(name string) net.HardwareAddr {
	return state.HostMAC("bridge", name)
}
