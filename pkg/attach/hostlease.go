package attach

import (
	"context"
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/fairway-cni/fairway/pkg/state/lan"
)

// hostLease lends the host its own addresses in the network of a call, from host-local. They belong to an owner of the
// host's own, of whom no runtime knows.
type hostLease struct{ request ipam.Request }

// hostLease is nil where the addresses are not host-local's.
func (c *call) hostLease() lan.Lender {
	request := c.addressing()
	if request.Type == "" && c.env.Command == "DEL" {
		request, _ = c.defaultAddressing() // as the container's are looked for
	}
	if request.Type != "host-local" {
		return nil
	}
	request.Netns, request.Owner = "", hostOwner(c.conf.Name)
	return hostLease{request}
}

func (h hostLease) plugin() ipam.HostLocal { return ipam.HostLocal{Request: h.request} }

func hostOwner(network string) ipam.Owner {
	o := lan.HostOwner(network)
	return ipam.Owner{ContainerID: o.ContainerID, IfName: o.IfName}
}

// Lend reserves an address of each range set, whatever the call asks for.
func (h hostLease) Lend() ([]netip.Addr, error) {
	lease, err := h.plugin().AddAny(context.Background())
	if err != nil {
		return nil, err
	}
	var lent []netip.Addr
	for _, ip := range lease.IPs {
		lent = append(lent, ip.Prefix.Addr())
	}
	return lent, nil
}

// GiveBack releases them.
func (h hostLease) GiveBack() error { return h.plugin().Del(context.Background()) }
