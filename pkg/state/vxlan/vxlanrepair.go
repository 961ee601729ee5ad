package vxlan

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// beyondRepair says whether the device has what the kernel cannot change.
func (v VXLAN) beyondRepair(link *netlink.Vxlan) bool {
	local, _ := netip.AddrFromSlice(link.SrcAddr)
	return link.VxlanId != int(v.VNI) || link.Port != int(v.Port) || local.Is4() != v.Local.Is4() || link.FlowBased
}

// deviation is one difference between the device and what is declared, and what puts it right.
type deviation struct {
	text string
	fix  func(*kernel.Kernel, *netlink.Vxlan) error
}

func (v VXLAN) deviations(link *netlink.Vxlan) (found []deviation) {
	note := func(differs bool, text string, fix func(*kernel.Kernel, *netlink.Vxlan) error) {
		if differs {
			found = append(found, deviation{text, fix})
		}
	}
	local, _ := netip.AddrFromSlice(link.SrcAddr)
	note(local != v.Local, fmt.Sprintf("sends from %s instead of %s", local, v.Local), v.change)
	note(link.Learning, "learns addresses", v.change)
	note(!bytes.Equal(link.HardwareAddr, v.MAC), fmt.Sprintf("has MAC %s instead of %s", link.HardwareAddr, v.MAC),
		func(k *kernel.Kernel, l *netlink.Vxlan) error { return k.Host.LinkSetHardwareAddr(l, v.MAC) })
	note(link.MTU != v.MTU, fmt.Sprintf("has MTU %d instead of %d", link.MTU, v.MTU),
		func(k *kernel.Kernel, l *netlink.Vxlan) error { return k.Host.LinkSetMTU(l, v.MTU) })
	note(link.Attrs().Group != state.Group(v.Network), fmt.Sprintf("is in group %d instead of %d", link.Attrs().Group, state.Group(v.Network)),
		func(k *kernel.Kernel, l *netlink.Vxlan) error {
			return k.Host.LinkSetGroup(l, int(state.Group(v.Network)))
		})
	note(link.Flags&net.FlagUp == 0, "is down", v.raise)
	return found
}

func (v VXLAN) repair(k *kernel.Kernel, link *netlink.Vxlan) error {
	for _, d := range v.deviations(link) {
		if err := d.fix(k, link); err != nil {
			return fmt.Errorf("link %s %s: %w", v.Name, d.text, state.AsVanished(err))
		}
	}
	return nil
}

func (v VXLAN) raise(k *kernel.Kernel, link *netlink.Vxlan) error {
	state.IgnoreRouters(k, v.Name)
	state.SkipDetection(k, v.Name)
	err := k.Host.LinkSetUp(link)
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("its UDP port %d is somebody else's on this host, %w: choose another port: %w", v.Port, state.ErrConflict, err)
	}
	return err
}

// change sets what the kernel can change of a VXLAN device.
func (v VXLAN) change(k *kernel.Kernel, link *netlink.Vxlan) error {
	return k.Host.SetVXLANLocal(link, v.Local)
}

func (v VXLAN) addresses(link *netlink.Vxlan) state.HostAddresses {
	return state.HostAddresses{Link: v.Name, Index: link.Index, Addrs: v.Addresses}
}
