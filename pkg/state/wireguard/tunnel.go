// Package wireguard declares the way of an encrypted overlay network between hosts: a WireGuard device, its peers, and routes of
// the peers' blocks straight into it. It needs CAP_NET_ADMIN in the host's namespace.
//
// What keeps packets from going in clear does not depend on any of it, and stands before (ruleset.Encryption, and the unreachable
// routes of vxlan.PeerTable).
package wireguard

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
)

// Tunnel is a host's end of an encrypted network. It is down until its key is in place, and has no peers before it is up, nor a keepalive:
// nothing is sent while containers send nothing. Endpoints are those declared: the device follows a peer that moves, and is set back by Pin.
//
// The packets outside have no firewall mark: the bits of a mark belong to others, and nothing here depends on one.
type Tunnel struct {
	Network string
	// Name is the device's, and Kind the type of its link: of the Driver.
	Name string
	// Key is the host's private key, Port the UDP port that peers send to.
	Key  wgtypes.Key
	Port uint16
	// MTU in bytes.
	MTU int
	// Addresses are the host's own in the network.
	Addresses []netip.Addr
	Peers     []Peer
	// Partial leaves peers and routes alone that are not listed.
	Partial bool
	// Attended leaves the device to the node agent, which alone has the key: Ensure only looks whether it is there.
	Attended bool
	// Driver makes the device. Nil: the kernel's.
	Driver Driver
	// Spare is a second device, with another key or another port, beside this one while a host replaces its key. Nil: there is none, and
	// one of SpareName that is left of such a time goes.
	Spare     *Tunnel
	SpareName string
}

// Peer is another host of the network.
type Peer struct {
	// Key is its public key.
	Key wgtypes.Key
	// Endpoint is where it is on the underlay.
	Endpoint netip.AddrPort
	// Prefixes are reached through it, and what it sends has to come from them: WireGuard's allowed IPs.
	Prefixes []netip.Prefix
	// Idle leaves it to the other device of the network to route to the peer. What comes from it is taken all the same.
	Idle bool
	// Wake has the device begin a session although there is nothing to send.
	Wake bool
}

// Driver makes and configures WireGuard devices: the kernel's, or those of a process.
type Driver interface {
	// Make makes a device that is down. That it is there already is an error that wraps unix.EEXIST; that there is no WireGuard, one
	// that wraps state.ErrUnsupported.
	Make(k *kernel.Kernel, attrs netlink.LinkAttrs) error
	// Made says whether a link is one of the driver's that works.
	Made(link netlink.Link) bool
	// Device reads how one is configured, and Configure changes it.
	Device(name string) (*wgtypes.Device, error)
	Configure(name string, c wgtypes.Config) error
}

var (
	_ vxlan.Tunnel  = Tunnel{}
	_ state.Readier = Tunnel{}
)

func (t Tunnel) String() string {
	var lines []string
	for _, one := range t.devices() {
		lines = append(lines, one.lines()...)
	}
	return strings.Join(lines, " && ")
}

func (t Tunnel) lines() []string {
	lines := []string{
		fmt.Sprintf("ip link add %s mtu %d group %d type wireguard", t.Name, t.MTU, state.Group(t.Network)),
		fmt.Sprintf("wg set %s listen-port %d private-key …", t.Name, t.Port),
	}
	for _, p := range t.Peers {
		lines = append(lines, fmt.Sprintf("wg set %s peer %s endpoint %s allowed-ips %s", t.Name, p.Key, p.Endpoint, join(p.Prefixes)))
	}
	lines = append(lines, "sysctl -w "+state.AcceptRA(t.Name)+"=0", "sysctl -w "+reversePath(t.Name)+"=2", "ip link set "+t.Name+" up")
	for _, addr := range t.Addresses {
		lines = append(lines, state.Address{Link: t.Name, Prefix: state.HostPrefix(addr)}.String())
	}
	for _, p := range t.Peers {
		for _, prefix := range p.Prefixes {
			if !p.Idle {
				lines = append(lines, fmt.Sprintf("ip route replace %s dev %s proto %d", prefix, t.Name, state.RouteProtocol))
			}
		}
	}
	return lines
}

// devices are the tunnel's, the spare one last.
func (t Tunnel) devices() []Tunnel {
	if t.Spare == nil || t.Attended {
		return []Tunnel{t}
	}
	return []Tunnel{t, *t.Spare}
}

func join(prefixes []netip.Prefix) string {
	texts := make([]string, len(prefixes))
	for i, p := range prefixes {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

func (t Tunnel) driver() Driver {
	if t.Driver != nil {
		return t.Driver
	}
	return Kernel{}
}

// errNotMade says that the node agent has not made the device.
func (t Tunnel) errNotMade() error {
	return fmt.Errorf("%w: link %s of network %s is the node agent's to make, see whether fairwayd runs, and what it says of the network",
		vxlan.ErrTunnel, t.Name, t.Network)
}

// Ensure makes what is missing and repairs what differs, in an order in which nothing is routed into a device without a key, and
// nothing is received before the device knows what each peer may send.
func (t Tunnel) Ensure(k *kernel.Kernel) (created bool, err error) {
	if t.Attended {
		there, sound, err := t.Look(k)
		if err == nil && (!there || !sound) {
			err = t.errNotMade()
		}
		return false, err
	}
	links := make(map[string]int)
	var errs []error
	for i, one := range t.devices() {
		made, index, err := one.ensureDevice(k, i > 0)
		if err == nil {
			links[one.Name] = index
		}
		created, errs = created || made, append(errs, err)
	}
	if errs[0] != nil {
		return created, errors.Join(errs...)
	}
	left, err := t.left(k)
	if left != nil {
		links[t.SpareName] = left.Attrs().Index
	}
	errs = append(errs, err, t.ensureRoutes(k, links))
	if left != nil {
		errs = append(errs, state.DeleteLink(k.Host, left))
	}
	return created, errors.Join(errs...)
}

// left is a spare device that is not needed any more. Nil: there is none.
func (t Tunnel) left(k *kernel.Kernel) (netlink.Link, error) {
	if t.Spare != nil || t.SpareName == "" || t.Partial || t.Attended {
		return nil, nil
	}
	left := t
	left.Name = t.SpareName
	return left.find(k)
}

// ensureDevice makes one device, without routes. A spare one has its alias at once: whether the network is complete is not told by it.
func (t Tunnel) ensureDevice(k *kernel.Kernel, spare bool) (created bool, index int, err error) {
	link, created, err := t.ensureLink(k)
	if err != nil {
		return created, 0, err
	}
	if tag := state.OverlayTag(t.Network); spare && link.Attrs().Alias != tag {
		if err := k.Host.LinkSetAlias(link, tag); err != nil {
			return created, 0, fmt.Errorf("ip link set %s alias: %w", t.Name, state.AsVanished(err))
		}
	}
	t.takeAnyWayBack(k)
	if err := t.configure(func() error { return t.repair(k, link) }); err != nil {
		return created, 0, err
	}
	index = link.Attrs().Index
	return created, index, state.HostAddresses{Link: t.Name, Index: index, Addrs: t.Addresses}.Settle(k)
}

// Verify compares the device, its peers and the routes with what is declared. Where a peer is at the moment is not compared.
func (t Tunnel) Verify(k *kernel.Kernel) error {
	links := make(map[string]int)
	var errs []error
	for _, one := range t.devices() {
		index, err := one.verifyDevice(k)
		if index != 0 {
			links[one.Name] = index
		}
		errs = append(errs, err)
	}
	if t.Attended || links[t.Name] == 0 {
		return errors.Join(errs...)
	}
	left, err := t.left(k)
	if left != nil {
		links[t.SpareName] = left.Attrs().Index
		err = state.Driftf("link %s is left of a key that was replaced", t.SpareName)
	}
	return errors.Join(append(errs, err, t.verifyRoutes(k, links))...)
}

// verifyDevice gives the index of a device that is there, and what differs of it but for routes.
func (t Tunnel) verifyDevice(k *kernel.Kernel) (index int, err error) {
	link, err := t.find(k)
	if err != nil {
		return 0, err
	}
	if link == nil {
		return 0, state.Driftf("link %s is gone from the host's namespace", t.Name)
	}
	index = link.Attrs().Index
	var errs []error
	for _, d := range t.deviations(link) {
		errs = append(errs, state.Driftf("%s %s", t.Name, d.text))
	}
	if !t.Attended {
		errs = append(errs, t.verifyConfig(), state.HostAddresses{Link: t.Name, Index: index, Addrs: t.Addresses}.Verify(k))
	}
	return index, errors.Join(errs...)
}

// Remove deletes the devices, if they are the network's, and with them keys, peers and routes.
func (t Tunnel) Remove(k *kernel.Kernel) error {
	var errs []error
	for _, name := range []string{t.Name, t.SpareName} {
		one := t
		one.Name = name
		if name == "" {
			continue
		}
		link, err := one.find(k)
		if link != nil {
			err = state.DeleteLink(k.Host, link)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Look says whether the device is there, and as declared but for addresses and peers.
func (t Tunnel) Look(k *kernel.Kernel) (there, sound bool, err error) {
	link, err := t.find(k)
	if err != nil || link == nil {
		return false, false, err
	}
	return true, (t.Attended || t.driver().Made(link)) && len(t.deviations(link)) == 0, nil
}

// Advance changes what differs from what is in place, without listing anything.
func (t Tunnel) Advance(k *kernel.Kernel, before vxlan.Tunnel) (ok bool, err error) {
	was, same := before.(Tunnel)
	now, old := t.devices(), was.devices()
	if !same || len(now) != len(old) {
		return false, nil
	}
	links := make(map[string]int)
	for i, one := range now {
		index, err := one.stands(k, old[i])
		if index == 0 || err != nil {
			return false, err
		}
		links[one.Name] = index
	}
	is, want := was.ways(links), t.ways(links)
	// What is no peer's any more is not routed to one: unreachable, until it is another's.
	if err := t.deleteRoutes(k, is, want); err != nil {
		return true, err
	}
	for i, one := range now {
		if err := one.set(one.difference(old[i].config())); err != nil {
			return true, err
		}
	}
	return true, t.addRoutes(k, want, is)
}

// stands gives the index of a device that is there, and as another but for its peers; else 0.
func (t Tunnel) stands(k *kernel.Kernel, was Tunnel) (index int, err error) {
	if t.Key != was.Key || t.Port != was.Port || t.Name != was.Name || t.MTU != was.MTU || !slices.Equal(t.Addresses, was.Addresses) {
		return 0, nil
	}
	there, sound, err := t.Look(k)
	if err != nil || !there || !sound {
		return 0, err
	}
	link, err := k.Host.Link(t.Name)
	if err != nil {
		return 0, err
	}
	return link.Attrs().Index, nil
}

// Ready says whether the kernel can have the device, as far as can be told without making one: one that is there proves it.
func (t Tunnel) Ready(k *kernel.Kernel) error {
	if !t.Attended {
		return nil
	}
	there, sound, err := t.Look(k)
	if err == nil && (!there || !sound) {
		err = t.errNotMade()
	}
	return err
}
