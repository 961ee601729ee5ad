package state

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Announce tells a segment which MAC has a container's addresses, so that neighbours which remember an earlier holder
// forget it: gratuitous ARP (RFC 5227, 3) and unsolicited neighbour advertisements (RFC 4861, 7.2.6).
//
// The kernel sends both when a link's MAC is set, be it to the same, and the link asks for it (arp_notify, Linux 2.6.30;
// ndisc_notify, Linux 3.12). Sent by us they would need a packet socket, whose closing waits for an RCU grace period:
// as long as the rest of an ADD.
type Announce struct {
	Attribute
	Link  string
	Addrs []netip.Addr
	// First: nobody has had the addresses since the host was started. On a bridge that fairway has made since then, nobody can
	// remember an earlier holder, and what is sent there goes to each of its hundreds of ports. A bridge of others may have a port
	// to a segment that did not start with the host.
	First bool
	// Bridge is the one that the link leads to. Empty: none.
	Bridge string
}

func (Announce) Place() Place { return Container }

func (a Announce) String() string {
	var lines []string
	if a.has4() {
		lines = append(lines, "sysctl -w net/ipv4/conf/"+a.Link+"/arp_notify=1")
	}
	if a.has6() {
		lines = append(lines, "sysctl -w "+a.notify6()+"=1")
	}
	return strings.Join(append(lines, fmt.Sprintf("ip link set %s address $(cat /sys/class/net/%s/address)", a.Link, a.Link)), " && ")
}

func (a Announce) has4() bool { return slices.ContainsFunc(a.Addrs, netip.Addr.Is4) }

func (a Announce) has6() bool { return slices.ContainsFunc(a.Addrs, netip.Addr.Is6) }

// notify6 is the parameter by which the link asks for announcements of IPv6.
func (a Announce) notify6() string { return "net/ipv6/conf/" + a.Link + "/ndisc_notify" }

// Ensure announces the addresses. It never fails an ADD: an announcement saves others a time-out, and may be lost anyway.
func (a Announce) Ensure(k *kernel.Kernel) (bool, error) {
	if len(a.Addrs) == 0 {
		return false, nil
	}
	switch err := a.send(k); {
	case errors.Is(err, errNoCarrier):
		slog.Debug("addresses not announced", "link", a.Link, "error", err)
		return false, nil
	case err != nil:
		slog.Warn("addresses not announced", "link", a.Link, "error", err)
		return false, nil
	}
	return true, nil
}

func (a Announce) send(k *kernel.Kernel) error {
	n := k.Container
	link, err := n.Link(a.Link)
	if err == nil && link.Attrs().OperState != netlink.OperUp { // as it was found before its other end was up
		link, err = n.LinkNow(a.Link)
	}
	if err != nil {
		return err
	}
	if err := awaitCarrier(n, link); err != nil {
		return err
	}
	if err := a.awaitPort(k, link); err != nil {
		return err
	}
	if a.needless(k) {
		return nil
	}
	if a.has6() {
		if err := n.SetSysctl(a.notify6(), "1"); err != nil {
			return err
		}
	}
	return n.LinkAnnounce(link, a.has4())
}

// needless says that nobody can remember an earlier holder.
func (a Announce) needless(k *kernel.Kernel) bool {
	if !a.First || a.Bridge == "" {
		return false
	}
	bridge, err := k.Host.Link(a.Bridge)
	return err == nil && bytes.Equal(bridge.Attrs().HardwareAddr, BridgeMAC(a.Bridge))
}

// awaitPort waits until the host's end of a veth carries frames, which is when the bridge forwards what it sends.
func (Announce) awaitPort(k *kernel.Kernel, link netlink.Link) error {
	if link.Type() != "veth" {
		return nil
	}
	port, err := k.Host.LinkAt(link.Attrs().ParentIndex)
	if err != nil || port.Attrs().MasterIndex == 0 {
		return IgnoreNotFound(err) // the other end is not on the host, or no bridge's
	}
	return awaitCarrier(k.Host, port)
}

// Verify has nothing to look at: an announcement leaves no state that matters.
func (Announce) Verify(*kernel.Kernel) error { return nil }
