package vxlan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Peer is another host of an overlay network.
type Peer struct {
	// VTEP is its address on the underlay, MAC that of its device.
	VTEP netip.Addr
	MAC  net.HardwareAddr
	// Prefixes are reached through it: its blocks, and single addresses outside of them. Each costs a route through its
	// first address, and a neighbour of that address.
	Prefixes []netip.Prefix
}

// PeerTable is the routes, neighbours and forwarding entries by which a VXLAN device reaches its peers, as one object:
// each of the three is read by one listing, and only what differs is written.
type PeerTable struct {
	// Link is the device. Empty: there is none, nor a peer.
	Link  string
	Peers []Peer
	// Unreachable are prefixes of the network that no route may lead out of the host, unless one of a longer prefix
	// does: the subnets, and the host's own blocks.
	Unreachable []netip.Prefix
	// VNI is the metric of the unreachable routes, by which each network knows its own.
	VNI uint32
	// Partial leaves entries alone that no peer has.
	Partial bool
}

func (p PeerTable) String() string {
	var lines []string
	for _, prefix := range p.Unreachable {
		lines = append(lines, fmt.Sprintf("ip route add unreachable %s proto %d metric %d", prefix, state.RouteProtocol, p.VNI))
	}
	for _, peer := range p.Peers {
		lines = append(lines, fmt.Sprintf("bridge fdb replace %s dev %s dst %s self permanent", peer.MAC, p.Link, peer.VTEP))
		for _, prefix := range peer.Prefixes {
			via := prefix.Masked().Addr()
			lines = append(lines,
				fmt.Sprintf("ip neigh replace %s dev %s lladdr %s nud permanent", via, p.Link, peer.MAC),
				fmt.Sprintf("ip route add %s via %s dev %s onlink proto %d", prefix, via, p.Link, state.RouteProtocol))
		}
	}
	return strings.Join(lines, " && ")
}

// Ensure writes what differs. It says that it created nothing: what a failed ADD put right for the others stays.
func (p PeerTable) Ensure(k *kernel.Kernel) (bool, error) {
	// Another process may write the same entries, or remove the device, between two steps.
	const tries = 4
	for range tries {
		changes, err := p.compare(k)
		if err != nil || len(changes) == 0 {
			return false, err
		}
		again, err := p.write(k, changes)
		if !again || err != nil {
			return false, err
		}
	}
	return false, fmt.Errorf("peers of %s: %w", p.Link, state.ErrVanished)
}

// write sends the changes. again says that somebody else changed the table meanwhile.
func (p PeerTable) write(k *kernel.Kernel, changes []change) (again bool, err error) {
	requests := make([]kernel.Message, len(changes))
	for i, c := range changes {
		requests[i] = c.request
	}
	errs, err := k.Batch(requests)
	if err != nil {
		return false, err
	}
	for i, one := range errs {
		switch {
		case one == nil, changes[i].surplus && isAbsent(one):
			errs[i] = nil
		case errors.Is(one, unix.EEXIST) && changes[i].raced(k):
			again, errs[i] = true, nil
		case errors.Is(one, unix.EEXIST):
			errs[i] = fmt.Errorf("%s: the host has a route there already, %w: remove it, or choose another subnet", changes[i].text, state.ErrConflict)
		default:
			errs[i] = fmt.Errorf("%s: %w", changes[i].text, state.AsVanished(one))
		}
	}
	return again, errors.Join(errs...)
}

func isAbsent(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}

// Verify reports what differs.
func (p PeerTable) Verify(k *kernel.Kernel) error {
	changes, err := p.compare(k)
	if err != nil {
		return err
	}
	const shown = 10
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.drift(), b.drift()) })
	var errs []error
	for _, c := range changes[:min(len(changes), shown)] {
		errs = append(errs, state.Driftf("%s", c.drift()))
	}
	if more := len(changes) - shown; more > 0 {
		errs = append(errs, state.Driftf("and %d more entries of peers of %s", more, p.Link))
	}
	return errors.Join(errs...)
}

// Remove deletes what does not go with the device: the unreachable routes.
func (p PeerTable) Remove(k *kernel.Kernel) error {
	return removeUnreachable(k, p.VNI)
}

// removeUnreachable deletes the unreachable routes of a network.
func removeUnreachable(k *kernel.Kernel, vni uint32) error {
	found, err := k.Routes(state.RouteProtocol)
	if err != nil {
		return err
	}
	var requests []kernel.Message
	for _, r := range found {
		if r.Type == unix.RTN_UNREACHABLE && r.Metric == vni {
			requests = append(requests, r.Delete())
		}
	}
	errs, err := k.Batch(requests)
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil || isAbsent(err) })
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("ip route del unreachable … metric %d: %w", vni, err)
	}
	return nil
}
