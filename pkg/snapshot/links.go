package snapshot

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// readLinks lists the links with their addresses, in the order of their indices.
func readLinks(n *kernel.Namespace) ([]Link, error) {
	found, err := kernel.Dump(n.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link show: %w", err)
	}
	of, err := kernel.Retry(func() (map[int][]netip.Prefix, error) {
		of := make(map[int][]netip.Prefix)
		err := n.EachAddress(func(a kernel.AddressEntry) {
			if !a.Prefix.Addr().IsUnspecified() {
				of[a.Link] = append(of[a.Link], a.Prefix)
			}
		})
		return of, err
	})
	if err != nil {
		return nil, err
	}
	var links []Link
	for _, link := range found {
		l := describe(link)
		l.Addrs = of[l.Index]
		links = append(links, l)
	}
	return links, isolate(n, links)
}

func describe(link netlink.Link) Link {
	a := link.Attrs()
	l := Link{
		Index: a.Index, Name: a.Name, Alias: a.Alias, Kind: link.Type(), MTU: a.MTU,
		Up: a.Flags&net.FlagUp != 0, Running: a.Flags&net.FlagRunning != 0 && a.Flags&net.FlagUp != 0, Group: int(a.Group), Master: a.MasterIndex, Lower: a.ParentIndex, LowerIn: a.NetNsID,
	}
	if len(a.HardwareAddr) > 0 {
		l.MAC = a.HardwareAddr.String()
	}
	if a.Flags&net.FlagLoopback != 0 {
		l.Kind = "loopback"
	}
	switch v := link.(type) {
	case *netlink.Macvlan:
		l.Mode = macvlanModes[v.Mode]
	case *netlink.Vxlan:
		l.Lower, l.VXLAN = v.VtepDevIndex, VXLAN{VNI: v.VxlanId, Local: addr(v.SrcAddr), Port: v.Port, Group: addr(v.Group)}
	}
	return l
}

// macvlanModes are the names that ip link gives.
var macvlanModes = map[netlink.MacvlanMode]string{
	netlink.MACVLAN_MODE_PRIVATE: "private", netlink.MACVLAN_MODE_VEPA: "vepa", netlink.MACVLAN_MODE_BRIDGE: "bridge",
	netlink.MACVLAN_MODE_PASSTHRU: "passthru", netlink.MACVLAN_MODE_SOURCE: "source",
}

// addr is an address, or the zero one for nil and for one of zeros.
func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return known(a.Unmap())
}

// known is an address, or the zero one for that which stands for any.
func known(a netip.Addr) netip.Addr {
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
