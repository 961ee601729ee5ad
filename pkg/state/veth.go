package state

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Veth joins a container to the host: one end in its namespace, the other on the host, as a port of a bridge if one is
// named. The host's end is named after the owner.
type Veth struct {
	Owner Owner
	// MAC of the container's end.
	MAC net.HardwareAddr
	// MTU of both ends in bytes, 0 for the MTU of the path to the outside.
	MTU int
	// Down leaves the container's end down.
	Down bool
	// IPv6 is how the container's end treats IPv6.
	IPv6 LinkIPv6
	// Bridge is the host end's master. Empty: none.
	Bridge string
	// Hairpin lets a frame leave by the port it came in.
	Hairpin bool
	// Isolated keeps frames from other isolated ports.
	Isolated bool
	// RecordedMAC is the MAC in the result of the last plugin of a chain; nil when there is none. Verify expects it
	// instead of MAC, because a later plugin of the chain may have changed the address.
	RecordedMAC net.HardwareAddr
	// RecordedHostLink is the host's end in that result, which another suite names in its own way. Empty: it is named after
	// the owner.
	RecordedHostLink string
}

var (
	_ Anchor = Veth{}
	_ Joiner = Veth{}
)

// Joins marks it as one by which a bridge, or an overlay network's device, is in use.
func (Veth) Joins() {}

func (v Veth) String() string {
	text := fmt.Sprintf("ip link add %s type veth peer name %s address %s netns container",
		v.Owner.HostLink(), v.Owner.IfName, v.MAC)
	if v.MTU > 0 {
		text = fmt.Sprintf("ip link add %s mtu %d type veth peer name %s mtu %d address %s netns container",
			v.Owner.HostLink(), v.MTU, v.Owner.IfName, v.MTU, v.MAC)
	}
	if line := v.IPv6.Line(v.Owner.IfName); line != "" {
		text += " && " + line
	}
	if v.Bridge != "" {
		text += fmt.Sprintf(" && ip link set %s up master %s", v.Owner.HostLink(), v.Bridge)
	}
	if v.Hairpin {
		text += fmt.Sprintf(" && bridge link set dev %s hairpin on", v.Owner.HostLink())
	}
	if v.Isolated {
		text += fmt.Sprintf(" && bridge link set dev %s isolated on", v.Owner.HostLink())
	}
	return text
}

// Ensure makes the pair. An error wraps ErrExists when the container has a link of the name already, and ErrOwned when the host has the
// other end: that of an earlier attachment, which LastEnd finds before, or of another ADD at this moment.
func (v Veth) Ensure(k *kernel.Kernel) (bool, error) {
	if err := v.add(k); err != nil {
		return false, err
	}
	// The container's end has no carrier before the host's is up.
	err := v.IPv6.Write(k, v.Owner.IfName)
	if err == nil {
		err = v.joinBridge(k)
	}
	if err != nil {
		return false, errors.Join(err, v.Remove(k))
	}
	return true, nil
}

// Free says whether the container has no link of the name yet.
func (v Veth) Free(k *kernel.Kernel) error { return LinkFree(k, v.Owner.IfName) }

func (v Veth) add(k *kernel.Kernel) error {
	err := k.AddVeth(kernel.VethPair{
		HostName: v.Owner.HostLink(), HostGroup: Group(v.Owner.Network),
		In: k.Container, ContainerName: v.Owner.IfName, ContainerMAC: v.MAC, ContainerDown: v.Down,
		MTU: MTUOrPath(k, v.MTU),
	})
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	end, err := LastEnd(k, v.Owner)
	if err != nil {
		return err
	}
	if end == nil {
		if err := v.Free(k); err != nil {
			return err
		}
		return fmt.Errorf("the other end of %s was there and is %w", v.Owner.IfName, ErrVanished)
	}
	return fmt.Errorf("container %s interface %s of network %s %w, made by another ADD at this moment: run one at a time, and give each "+
		"container an ID of its own", v.Owner.ContainerID, v.Owner.IfName, v.Owner.Network, ErrOwned)
}

// LastEnd is the host's end that an earlier attachment of the owner has, nil when there is none.
func LastEnd(k *kernel.Kernel, owner Owner) (netlink.Link, error) {
	end, err := k.Host.LinkNow(owner.HostLink())
	if err != nil {
		return nil, IgnoreNotFound(err)
	}
	return end, nil
}

func (v Veth) joinBridge(k *kernel.Kernel) error {
	if v.Bridge == "" {
		IgnoreRouters(k, v.Owner.HostLink()) // before the container can reach it
		SkipDetection(k, v.Owner.HostLink())
	}
	if err := RaisePort(k, v.Owner.HostLink(), v.Bridge, v.Owner.Tag()); err != nil {
		return err
	}
	if !v.Hairpin && !v.Isolated {
		return nil // as a new port is
	}
	port, err := k.Host.Link(v.Owner.HostLink())
	if err != nil {
		return err
	}
	if v.Hairpin {
		err = k.Host.LinkSetHairpin(port, true)
	}
	if v.Isolated {
		err = errors.Join(err, k.Host.LinkSetIsolated(port, true))
	}
	if err != nil {
		return fmt.Errorf("bridge link set dev %s: %w", v.Owner.HostLink(), err)
	}
	return nil
}

// Verify compares both ends with the declaration.
func (v Veth) Verify(k *kernel.Kernel) error {
	return errors.Join(v.verifyContainerEnd(k), v.verifyHostEnd(k))
}

func (v Veth) verifyContainerEnd(k *kernel.Kernel) error {
	link, err := VerifyLink(k.Container, Container, v.Owner.IfName)
	if err != nil {
		return err
	}
	var errs []error
	if link.Type() != "veth" {
		errs = append(errs, Driftf("%s in the container is a %s, not a veth", v.Owner.IfName, link.Type()))
	}
	want := v.MAC
	if v.RecordedMAC != nil {
		want = v.RecordedMAC
	}
	if got := link.Attrs().HardwareAddr; want != nil && !bytes.Equal(got, want) {
		errs = append(errs, Driftf("%s has MAC %s instead of %s", v.Owner.IfName, got, want))
	}
	if !v.Down && link.Attrs().Flags&net.FlagUp == 0 {
		errs = append(errs, Driftf("%s in the container is down", v.Owner.IfName))
	}
	// A later plugin of the chain may have lowered it, without a record: upstream's tuning does.
	if got := link.Attrs().MTU; v.MTU > 0 && got > v.MTU {
		errs = append(errs, Driftf("%s in the container has MTU %d, more than the %d of its host end", v.Owner.IfName, got, v.MTU))
	}
	return errors.Join(errs...)
}

func (v Veth) verifyHostEnd(k *kernel.Kernel) error {
	name := v.hostLink()
	link, err := VerifyLink(k.Host, Host, name)
	if err != nil {
		return err
	}
	var errs []error
	if link.Attrs().Flags&net.FlagUp == 0 {
		errs = append(errs, Driftf("%s is down", name))
	}
	if got := link.Attrs().MTU; v.MTU > 0 && got != v.MTU {
		errs = append(errs, Driftf("%s has MTU %d instead of %d", name, got, v.MTU))
	}
	if v.Bridge != "" {
		errs = append(errs, v.verifyPort(k, link))
	}
	return errors.Join(errs...)
}

// hostLink is the host's end that Verify looks for.
func (v Veth) hostLink() string {
	if v.RecordedHostLink != "" {
		return v.RecordedHostLink
	}
	return v.Owner.HostLink()
}

func (v Veth) verifyPort(k *kernel.Kernel, link netlink.Link) error {
	bridge, err := k.Host.Link(v.Bridge)
	if kernel.IsNotFound(err) {
		return nil // the bridge's own Verify says so
	}
	if err != nil {
		return err
	}
	if link.Attrs().MasterIndex != bridge.Attrs().Index {
		return Driftf("%s is not a port of %s", v.hostLink(), v.Bridge)
	}
	info, err := k.PortFlags(link.Attrs().Index)
	if err != nil {
		return fmt.Errorf("bridge link show dev %s: %w", v.hostLink(), err)
	}
	var errs []error
	if v.Hairpin && !info.Hairpin {
		errs = append(errs, Driftf("port %s has hairpin off", v.hostLink()))
	}
	if v.Isolated && !info.Isolated {
		errs = append(errs, Driftf("port %s is not isolated", v.hostLink()))
	}
	return errors.Join(errs...)
}

// IgnoreNotFound makes the absence of a link a success.
func IgnoreNotFound(err error) error {
	if kernel.IsNotFound(err) {
		return nil
	}
	return err
}
