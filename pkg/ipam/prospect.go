package ipam

import (
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/hostlocal"
)

// Prospect is what an Add would give, as far as every one gives the same: the prefix and the gateway of each range set that has one
// range.
func (h HostLocal) Prospect() (Lease, error) {
	conf, err := hostlocal.Parse(h.Stdin, h.Args)
	if err != nil {
		return Lease{}, err
	}
	lease := Lease{Routes: conf.Routes}
	for _, set := range conf.Ranges {
		if len(set) == 1 {
			lease.IPs = append(lease.IPs, IP{Prefix: netip.PrefixFrom(set[0].Start, set[0].Subnet.Bits()), Gateway: set[0].Gateway})
		}
	}
	return lease, nil
}
