package attach

import (
	"net"

	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/lan"
)

// Request is what a plan is about.
type Request struct {
	// Owner is the attachment. For STATUS it has a network and nothing else.
	Owner state.Owner
	// RecordedMAC is the container interface's MAC in prevResult, at CHECK and DEL. Nil: none is recorded.
	RecordedMAC net.HardwareAddr
	// Host lends the host's own addresses in the network. Nil: they are not host-local's, and cannot be lent.
	Host lan.Lender
	// RecordedHostLink is the host's end of the container's interface in prevResult. Empty: none is recorded.
	RecordedHostLink string
	// Recorded is true for CHECK: the lease is that of prevResult, which later plugins of the chain may have changed. Nothing
	// is to be derived beyond it.
	Recorded bool
	// Removal is true for DEL: everything that the owner may have is to be declared, whatever the keys say by now.
	Removal bool
}

type (
	// Lease is the addresses, routes and DNS of an attachment.
	Lease = ipam.Lease
	// IP is an address of a lease.
	IP = ipam.IP
	// Route is a route of a lease.
	Route = ipam.Route
)

// MAC is the container interface's address: the one that was asked for, or the owner's stable one.
func (r Request) MAC(asked net.HardwareAddr) net.HardwareAddr {
	if asked != nil {
		return asked
	}
	return r.Owner.MAC()
}

// HostLink is the host's end of the container's interface: as recorded, or named after the owner.
func (r Request) HostLink() string {
	if r.RecordedHostLink != "" {
		return r.RecordedHostLink
	}
	return r.Owner.HostLink()
}

// OfAnotherSuite says whether the recorded result names a host's end that is none of ours.
func (r Request) OfAnotherSuite() bool { return r.HostLink() != r.Owner.HostLink() }
