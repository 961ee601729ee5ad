package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/snapshot"
)

// tryNeighbour asks on the container's segment who has its addresses.
func tryNeighbour(ctx context.Context, w *way) []Finding {
	if !w.onBridge() || w.bridge.MAC == "" {
		return nil
	}
	for _, p := range w.a.Addresses {
		macs, err := w.whoHas(ctx, p.Addr())
		switch {
		case err != nil:
			return []Finding{undecidedf("who has %s on %s could not be asked: %v", p.Addr(), w.bridge.Name, err).remedy("run it as root, in the host's network namespace")}
		case len(macs) == 0:
			return []Finding{errorf("%s does not answer for %s on bridge %s", w.container(), p.Addr(), w.bridge.Name).
				remedy("see bridge link show dev %s and nft list ruleset: the frames are lost between %s and %s", w.end.Name, w.bridge.Name, w.a.IfName)}
		case slices.ContainsFunc(macs, func(mac string) bool { return mac != w.link.MAC }):
			return []Finding{errorf("%s of %s is also answered for by %v", p.Addr(), w.container(), macs).
				remedy("take the address away from the other: bridge fdb show br %s tells its port", w.bridge.Name)}
		}
	}
	return nil
}

// whoHas gives the MACs by which an address is answered for on the bridge: by ARP all that answer, and of IPv6 the one that the kernel finds.
func (w *way) whoHas(ctx context.Context, addr netip.Addr) ([]string, error) {
	if addr.Is6() {
		return w.h.resolve6(ctx, w.bridge, addr)
	}
	var sender netip.Addr
	for _, p := range w.bridge.Addrs {
		if p.Contains(addr) {
			sender = p.Addr()
		}
	}
	if !sender.IsValid() {
		sender = netip.IPv4Unspecified() // a probe, RFC 5227, 1.1
	}
	return askARP(w.bridge, sender, addr)
}

// answering is how long answers are waited for.
const answering = 300 * time.Millisecond

// askARP sends a request (RFC 826) and collects the answers.
func askARP(link snapshot.Link, sender, target netip.Addr) ([]string, error) {
	const arp = 0x0806
	protocol := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, arp)))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	defer unix.Close(fd)
	own, err := net.ParseMAC(link.MAC)
	if err != nil {
		return nil, err
	}
	everybody := unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: uint16(protocol), Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	request := append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, own...)
	request = append(append(request, sender.AsSlice()...), make([]byte, 6)...)
	const tries = 3 // a frame may be lost
	for range tries {
		if err := unix.Sendto(fd, append(request, target.AsSlice()...), 0, &everybody); err != nil {
			return nil, fmt.Errorf("ARP request on %s: %w", link.Name, err)
		}
		if macs, err := hearARP(fd, link.Index, target); err != nil || len(macs) > 0 {
			return macs, err
		}
	}
	return nil, nil
}

// hearARP collects who answers for an address on a link.
func hearARP(fd, link int, target netip.Addr) (macs []string, err error) {
	packet := make([]byte, 64)
	for until := time.Now().Add(answering); time.Now().Before(until); {
		left := unix.NsecToTimeval(max(time.Until(until), time.Millisecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &left); err != nil {
			return nil, err
		}
		n, from, err := unix.Recvfrom(fd, packet, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			break // nobody else answers
		}
		where, ok := from.(*unix.SockaddrLinklayer)
		const reply, size = 2, 28
		if !ok || where.Ifindex != link || n < size || packet[7] != reply || netip.AddrFrom4([4]byte(packet[14:18])) != target {
			continue
		}
		if mac := net.HardwareAddr(packet[8:14]).String(); !slices.Contains(macs, mac) {
			macs = append(macs, mac)
		}
	}
	return macs, nil
}

// resolve6 has the kernel look for a neighbour, by a datagram to the port of discard, and gives what it finds.
func (h *Host) resolve6(ctx context.Context, link snapshot.Link, addr netip.Addr) ([]string, error) {
	conn, err := (&net.Dialer{Timeout: answering}).DialContext(ctx, "udp", netip.AddrPortFrom(addr, 9).String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0}); err != nil {
		return nil, err
	}
	const tries = 20 // of 100 ms: the kernel asks three times, a second apart
	for range tries {
		found, err := kernel.Dump(func() ([]netlink.Neigh, error) { return h.Kernel.Host.NeighList(link.Index, netlink.FAMILY_V6) })
		if err != nil {
			return nil, err
		}
		for _, n := range found {
			const resolved = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT
			if n.IP.Equal(net.IP(addr.AsSlice())) && n.State&resolved != 0 {
				return []string{n.HardwareAddr.String()}, nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, nil
}
