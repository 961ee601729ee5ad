// Package lan declares what puts containers on the host's own LAN: macvlan links, the VLANs of their masters, and the
// host's access to them. It needs CAP_NET_ADMIN in both namespaces.
package lan

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/claims"
	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// MacvlanMode says how links on one master reach each other (ip-link(8), "MACVLAN and MACVTAP").
type MacvlanMode string

const (
	// MacvlanBridge lets them reach each other directly.
	MacvlanBridge MacvlanMode = "bridge"
	// MacvlanPrivate lets them reach each other not at all.
	MacvlanPrivate MacvlanMode = "private"
	// MacvlanVEPA lets them reach each other through a switch that sends frames back by the port they came in.
	MacvlanVEPA MacvlanMode = "vepa"
	// MacvlanPassthru gives one link all that the master receives, and the master's own address.
	MacvlanPassthru MacvlanMode = "passthru"
)

var macvlanModes = map[MacvlanMode]netlink.MacvlanMode{
	MacvlanBridge: netlink.MACVLAN_MODE_BRIDGE, MacvlanPrivate: netlink.MACVLAN_MODE_PRIVATE,
	MacvlanVEPA: netlink.MACVLAN_MODE_VEPA, MacvlanPassthru: netlink.MACVLAN_MODE_PASSTHRU,
}

// Macvlan is a container's link on a physical network, with an address of its own there.
type Macvlan struct {
	Owner  state.Owner
	Master Master
	Mode   MacvlanMode
	// MAC of the link. Nil: the owner's stable one on this host, or in mode passthru the master's.
	MAC net.HardwareAddr
	// MTU in bytes, 0 for the master's, which it may not exceed.
	MTU int
	// BroadcastQueue is the number of broadcast frames that may wait, 0 for the kernel's 1000 (Linux 5.11).
	BroadcastQueue uint32
	// IPv6 is how the link treats IPv6.
	IPv6 state.LinkIPv6
	// RecordedMAC is the MAC in the result of the last plugin of a chain; nil when there is none. Verify expects it
	// instead of MAC, because a later plugin of the chain may have changed the address.
	RecordedMAC net.HardwareAddr
}

var (
	_ state.Anchor  = Macvlan{}
	_ state.Readier = Macvlan{}
)

func (m Macvlan) String() string {
	text := fmt.Sprintf("ip link add link %s name %s", m.Master, m.Owner.IfName)
	if mac := m.address(); mac != nil {
		text += " address " + mac.String()
	}
	if m.MTU > 0 {
		text += fmt.Sprintf(" mtu %d", m.MTU)
	}
	if m.Master.In == state.Host {
		text += " netns container"
	}
	text += " type macvlan mode " + string(m.Mode)
	if m.BroadcastQueue > 0 {
		text += fmt.Sprintf(" bcqueuelen %d", m.BroadcastQueue)
	}
	if line := m.IPv6.Line(m.Owner.IfName); line != "" {
		text += " && " + line
	}
	return text + " && ip link set " + m.Owner.IfName + " up"
}

func (m Macvlan) Place() state.Place { return m.Master.In }

// address is the MAC to ask for; nil leaves it to the kernel. Two hosts of a physical network may have attachments of the
// same name, so that the host is part of it.
func (m Macvlan) address() net.HardwareAddr {
	if m.MAC != nil || m.Mode == MacvlanPassthru {
		return m.MAC
	}
	return state.HostMAC(m.Owner.Network, m.Owner.ContainerID, m.Owner.IfName)
}

// Free says whether the container has no link of the name yet.
func (m Macvlan) Free(k *kernel.Kernel) error { return state.LinkFree(k, m.Owner.IfName) }

// Ready says whether the master could take a container now. A master that is down carries nothing: the error wraps
// ErrLimited.
func (m Macvlan) Ready(k *kernel.Kernel) error {
	if m.Master.In == state.Container {
		return nil // it comes with the container
	}
	master, err := m.Master.link(k)
	if _, _, ok := m.Master.VLAN(); ok && errors.Is(err, state.ErrAbsent) {
		return nil // VLANMaster says whether it can be made
	}
	if err != nil {
		return err
	}
	if err := errors.Join(m.fits(master), m.Master.free(k, master)); err != nil {
		return err
	}
	if master.Attrs().Flags&net.FlagUp == 0 {
		return failure.Of(state.ErrLimited, "master %s is down: ip link set %s up", master.Attrs().Name, master.Attrs().Name)
	}
	return nil
}

// fits says whether the master's MTU is enough.
func (m Macvlan) fits(master netlink.Link) error {
	if most := master.Attrs().MTU; m.MTU > most {
		return failure.Of(state.ErrConflict, "key mtu is %d, and master %s has %d: give no more than that, or raise the master's",
			m.MTU, master.Attrs().Name, most)
	}
	return nil
}

// Ensure makes the link in the container's namespace and raises it. A container that has a link of the name already is an error
// that wraps ErrExists.
func (m Macvlan) Ensure(k *kernel.Kernel) (bool, error) {
	master, err := m.Master.link(k)
	if err != nil {
		return false, err
	}
	if err := m.fits(master); err != nil {
		return false, err
	}
	// From inside the container the link cannot be seen: should this call be killed, GC finds it by the claim.
	unclaim, err := m.claim(k)
	if err != nil {
		return false, err
	}
	if err := m.add(k, master); err != nil {
		return false, errors.Join(m.explain(k, master, err), unclaim())
	}
	return true, nil
}

// claim remembers in which container the link is. What it gives back undoes that, unless an earlier call claimed the same:
// the link may be there.
func (m Macvlan) claim(k *kernel.Kernel) (undo func() error, err error) {
	id, err := k.Container.ID()
	if err != nil {
		return nil, err
	}
	netns := claims.Netns{Path: k.Container.Path(), Dev: id.Dev, Inode: id.Inode, Cookie: id.Cookie}
	claim := claims.Claim{Owner: claims.Owner(m.Owner), Netns: netns}
	undo = m.unclaim
	err = withClaims(func(book *claims.Book) error {
		before, ok, err := book.Claim(claimedLink, claim.Owner)
		if err == nil && ok && before.Netns == claim.Netns {
			undo = func() error { return nil }
			// In mode passthru it would keep the master from the new one.
			if err := removeOurs(k.Container, m.Owner, m.Owner.DraftLink()); err != nil {
				return err
			}
		}
		return book.Put(claimedLink, claim)
	})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		// As in the mount namespace of a rootless runtime. DEL finds the link by its name.
		slog.Warn("the container's interface is not recorded: GC will not find it, should this call be killed", "error", err)
		return func() error { return nil }, nil
	}
	return undo, err
}

func (m Macvlan) unclaim() error {
	return withExistingClaims(func(book *claims.Book) error { return book.Drop(claimedLink, claims.Owner(m.Owner)) })
}

// add makes the link. Before Linux 6.15 its name must be free in the namespace of the request as
// well (rtnl_newlink), which is the master's: beside a host's eth0 it is made under a name that nobody has, and then renamed.
func (m Macvlan) add(k *kernel.Kernel, master netlink.Link) error {
	name := m.Owner.IfName
	err := m.addNamed(k, master, name)
	if m.Master.In == state.Host && errors.Is(err, unix.EEXIST) && m.Free(k) == nil {
		name = m.Owner.DraftLink()
		err = m.addNamed(k, master, name)
	}
	if err != nil {
		return err
	}
	if err := m.raise(k, name); err != nil {
		// Renaming succeeds also where raising does not.
		return errors.Join(err, removeOurs(k.Container, m.Owner, name), removeOurs(k.Container, m.Owner, m.Owner.IfName))
	}
	return nil
}

// raise gives the link its name, and raises it when all is set by which the kernel chooses its link-local address.
func (m Macvlan) raise(k *kernel.Kernel, made string) error {
	link, err := k.Container.Link(made)
	if err != nil {
		return err
	}
	if m.Mode == MacvlanPassthru && m.MAC != nil {
		// The kernel gives it the master's whatever is asked for, and the master this one when it is set.
		if err := k.Container.LinkSetHardwareAddr(link, m.MAC); err != nil {
			return fmt.Errorf("ip link set %s address %s: %w", made, m.MAC, err)
		}
	}
	if err := m.IPv6.Write(k, made); err != nil {
		return err
	}
	return k.Container.RenameUp(link, m.Owner.IfName)
}

// addNamed makes the link, down.
func (m Macvlan) addNamed(k *kernel.Kernel, master netlink.Link, name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = name, master.Attrs().Index, m.address()
	attrs.MTU, attrs.Group = m.MTU, state.Group(m.Owner.Network)
	if m.Master.In == state.Host {
		attrs.Namespace = netlink.NsFd(k.Container.Fd())
	}
	return m.Master.In.In(k).LinkAdd(&netlink.Macvlan{
		LinkAttrs: attrs, Mode: macvlanModes[m.Mode], BCQueueLen: m.BroadcastQueue,
	})
}

// explain says what the kernel's answer means.
func (m Macvlan) explain(k *kernel.Kernel, master netlink.Link, err error) error {
	name := master.Attrs().Name
	switch {
	case errors.Is(err, unix.EEXIST):
		if taken := m.Free(k); taken != nil {
			return taken
		}
		return fmt.Errorf("%s: %w: %w", m, err, state.ErrVanished)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("macvlan (CONFIG_MACVLAN) is %w: use a kernel that has it, or a network of another type", state.ErrUnsupported)
	case errors.Is(err, unix.EBUSY):
		return m.Master.busyError(k, master, err)
	case errors.Is(err, unix.EADDRINUSE):
		return failure.Of(state.ErrConflict, "MAC %s is in use on master %s: ask for another", m.address(), name)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%s: %w: %w", m, err, state.ErrVanished) // the master: it was there a moment ago
	case errors.Is(err, unix.EINVAL) && m.Mode == MacvlanPassthru:
		return failure.Of(state.ErrConflict, "master %s has another macvlan interface, and mode passthru takes it for one alone: "+
			"remove that one, or choose another mode or master", name)
	case errors.Is(err, unix.EINVAL):
		return failure.Of(state.ErrConflict, "master %s is taken by an interface in mode passthru, which lets no other beside it: "+
			"remove that one, or name another interface in key master", name)
	}
	return fmt.Errorf("%s: %w", m, err)
}

// Verify compares the link with the declaration.
func (m Macvlan) Verify(k *kernel.Kernel) error {
	found, err := state.VerifyLink(k.Container, state.Container, m.Owner.IfName)
	if err != nil {
		return err
	}
	link, ok := found.(*netlink.Macvlan)
	if !ok {
		return state.Driftf("%s in the container is a %s, not a macvlan", m.Owner.IfName, found.Type())
	}
	errs := []error{m.verifyMaster(k, link)}
	if link.Mode != macvlanModes[m.Mode] {
		errs = append(errs, state.Driftf("%s is in mode %s instead of %s", m.Owner.IfName, modeName(link.Mode), m.Mode))
	}
	if m.BroadcastQueue > 0 && link.BCQueueLen != m.BroadcastQueue {
		errs = append(errs, state.Driftf("%s has a broadcast queue of %d instead of %d", m.Owner.IfName, link.BCQueueLen, m.BroadcastQueue))
	}
	// A later plugin of the chain may have lowered it, without a record: upstream's tuning does.
	if m.MTU > 0 && link.MTU > m.MTU {
		errs = append(errs, state.Driftf("%s has MTU %d, more than the %d of the configuration", m.Owner.IfName, link.MTU, m.MTU))
	}
	want := m.address()
	if m.RecordedMAC != nil {
		want = m.RecordedMAC
	}
	if got := link.HardwareAddr; want != nil && !bytes.Equal(got, want) {
		errs = append(errs, state.Driftf("%s has MAC %s instead of %s", m.Owner.IfName, got, want))
	}
	if link.Flags&net.FlagUp == 0 {
		errs = append(errs, state.Driftf("%s in the container is down", m.Owner.IfName))
	}
	return errors.Join(errs...)
}

// verifyMaster compares with a master that is named: that of the default route may have been another when the link was
// made.
func (m Macvlan) verifyMaster(k *kernel.Kernel, link *netlink.Macvlan) error {
	if m.Master.Name == "" {
		return nil
	}
	master, err := state.VerifyLink(m.Master.In.In(k), m.Master.In, m.Master.Name)
	if err != nil {
		return err
	}
	if link.ParentIndex != lower(master) {
		return state.Driftf("%s does not lie on %s", m.Owner.IfName, m.Master.Name)
	}
	return nil
}

func modeName(mode netlink.MacvlanMode) MacvlanMode {
	for name, m := range macvlanModes {
		if m == mode {
			return name
		}
	}
	return "source"
}
