package vxlan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// ErrTunnel says that the tunnel of an encrypted network is not there.
var ErrTunnel = errors.New("no tunnel")

// ErrUnderlay says that the link an overlay network goes through is not usable now.
var ErrUnderlay = errors.New("underlay not usable")

// HostAddresses lists the addresses of all links of the host.
func HostAddresses(k *kernel.Kernel) ([]netip.Addr, error) {
	entries, err := k.Addresses(0)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, len(entries))
	for i, e := range entries {
		addrs[i] = e.Prefix.Addr()
	}
	return addrs, nil
}

// Underlay is the link of the host that has a VTEP's address.
type Underlay struct {
	Link string
	// MTU in bytes. For an address of the loopback, as routed underlays have it, it is that of the path to the outside.
	MTU int
}

// UnderlayOf finds the link of a VTEP's address. The error wraps ErrConflict when no link has the address, and
// ErrUnderlay when the link is down.
func UnderlayOf(k *kernel.Kernel, vtep netip.Addr) (Underlay, error) {
	entries, err := k.Addresses(0)
	if err != nil {
		return Underlay{}, err
	}
	for _, e := range entries {
		if e.Prefix.Addr() != vtep {
			continue
		}
		link, err := k.Host.LinkAt(e.Link)
		if err != nil {
			return Underlay{}, err
		}
		u := Underlay{Link: link.Attrs().Name, MTU: link.Attrs().MTU}
		if link.Attrs().Flags&net.FlagUp == 0 {
			return u, fmt.Errorf("%w: link %s of address %s is down, raise it (ip link set %s up)", ErrUnderlay, u.Link, vtep, u.Link)
		}
		if path := k.PathMTU(); link.Attrs().Flags&net.FlagLoopback != 0 && path > 0 {
			u.MTU = path
		}
		return u, nil
	}
	return Underlay{}, fmt.Errorf("address %s is none of this host, %w: name the host's address on the underlay", vtep, state.ErrConflict)
}
