package ports

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// forget forgets the flows of UDP that go past the ports: they began before these were published, and have no end by which
// the next packet would begin anew.
func (p Published) forget(k *kernel.Kernel) error {
	udp := slices.DeleteFunc(slices.Clone(p.Ports), func(port Port) bool { return port.Protocol != unix.IPPROTO_UDP })
	if len(udp) == 0 {
		return nil
	}
	local, err := hostAddresses(k)
	if err != nil {
		return err
	}
	for _, to := range p.Addrs {
		if err := k.ForgetUDP(to.Is6(), func(f kernel.Flow) bool {
			return f.AnsweredBy.Addr() != to && slices.ContainsFunc(udp, func(port Port) bool { return port.takes(k, f, local) })
		}); err != nil {
			return err
		}
	}
	return nil
}

// takes says whether a flow is one that comes by the port.
func (p Port) takes(k *kernel.Kernel, f kernel.Flow, local map[netip.Addr]bool) bool {
	if !p.has(f.To.Port()) || !p.serves(f.To.Addr()) {
		return false
	}
	if !p.anywhere() {
		return f.To.Addr() == p.HostIP
	}
	return local[f.To.Addr()] && !publishedThere(k, p, f.To)
}

// publishedThere says whether a port of all addresses is another container's at one of them.
func publishedThere(k *kernel.Kernel, p Port, at netip.AddrPort) bool {
	single := Port{Protocol: p.Protocol, HostIP: at.Addr(), HostPort: at.Port()}
	of := kind{of: at.Addr()}
	held, err := nftable.LookUp(k, kernel.Element{Set: of.published(), Key: single.key(of, at.Port())})
	return err == nil && held.Key != nil
}

// hostAddresses are the host's own.
func hostAddresses(k *kernel.Kernel) (map[netip.Addr]bool, error) {
	entries, err := k.Addresses(0)
	if err != nil {
		return nil, err
	}
	local := make(map[netip.Addr]bool)
	for _, e := range entries {
		local[e.Prefix.Addr()] = true
	}
	return local, nil
}

// entry is a port of the host that led to a container.
type entry struct {
	Port
	to netip.Addr
}

// forgetFlows forgets the flows of UDP that came to containers by ports.
func forgetFlows(k *kernel.Kernel, gone []entry) error {
	var errs []error
	for _, ipv6 := range []bool{false, true} {
		of := slices.DeleteFunc(slices.Clone(gone), func(e entry) bool { return e.Protocol != unix.IPPROTO_UDP || e.to.Is6() != ipv6 })
		if len(of) == 0 {
			continue
		}
		errs = append(errs, k.ForgetUDP(ipv6, func(f kernel.Flow) bool {
			return slices.ContainsFunc(of, func(e entry) bool {
				return e.has(f.To.Port()) && f.AnsweredBy.Addr() == e.to && (e.anywhere() || f.To.Addr() == e.HostIP)
			})
		}))
	}
	return errors.Join(errs...)
}
