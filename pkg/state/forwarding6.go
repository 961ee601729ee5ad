package state

import (
	"fmt"
	"log/slog"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Forwarding6 lets the host forward IPv6. It is never taken back, as others may have come to rely on it.
type Forwarding6 struct{ Attribute }

func (f Forwarding6) sysctl() Sysctl {
	return Sysctl{In: Host, Key: "net/ipv6/conf/all/forwarding", Value: "1"}
}

func (f Forwarding6) String() string { return f.sysctl().String() }

// Ensure turns forwarding on. A host that forwards takes no more router advertisements, and loses at once the default routes that
// it has by them (accept_ra in the kernel's ip-sysctl): links with such a route are told before to go on taking them.
func (f Forwarding6) Ensure(k *kernel.Kernel) (bool, error) {
	if value, err := k.Host.Sysctl(f.sysctl().Key); err == nil && value != "0" {
		return false, nil
	}
	if err := f.keepRouters(k); err != nil {
		return false, err
	}
	return f.sysctl().Ensure(k)
}

func (Forwarding6) keepRouters(k *kernel.Kernel) error {
	routes, err := kernel.Dump(func() ([]netlink.Route, error) {
		return k.Host.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Protocol: unix.RTPROT_RA}, netlink.RT_FILTER_PROTOCOL)
	})
	if err != nil {
		return fmt.Errorf("ip -6 route show proto ra: %w", err)
	}
	for _, route := range routes {
		link, err := k.Host.LinkAt(route.LinkIndex)
		if err != nil {
			continue // it has gone with its route
		}
		name := link.Attrs().Name
		key := "net/ipv6/conf/" + name + "/accept_ra"
		if value, err := k.Host.Sysctl(key); err != nil || value != "1" {
			continue // whoever set it has decided
		}
		if err := k.Host.SetSysctl(key, "2"); err != nil {
			return fmt.Errorf("sysctl -w %s=2: %w", key, err)
		}
		slog.Warn("the host forwards IPv6 from now on; its interface goes on taking router advertisements, by which it has its default route: "+
			"keep this in /etc/sysctl.d", "sysctl", "net.ipv6.conf."+name+".accept_ra=2")
	}
	return nil
}

// Verify reads the parameter.
func (f Forwarding6) Verify(k *kernel.Kernel) error { return f.sysctl().Verify(k) }
