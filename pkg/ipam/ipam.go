// Package ipam asks for addresses: from host-local within the process, from any other plugin by executing it as the CNI
// specification says.
package ipam

import (
	"context"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Lease is what an IPAM plugin handed out. The zero lease is that of a network without addresses.
type Lease struct {
	IPs    []IP
	Routes []Route
	DNS    types.DNS
	// First: nobody has had one of the addresses since the host was started, as far as it is host-local that gives them.
	First bool
}

type (
	// IP is an address with the length of its subnet, and its gateway; the zero gateway means none.
	IP = hostlocal.Address
	// Route is a route of a result.
	Route = hostlocal.Route
	// Owner is the attachment an address belongs to.
	Owner = hostlocal.Owner
)

// Request names the plugin and what it is asked about.
type Request struct {
	// Type of the plugin: the key ipam.type. Empty: the network has no addresses.
	Type string
	// Stdin is the whole network configuration.
	Stdin []byte
	// Args is CNI_ARGS, Netns is CNI_NETNS.
	Args, Netns string
	// Namespace is the one at Netns, as far as it has been identified already. The zero value: it has not.
	Namespace kernel.NamespaceID
	Owner     Owner
	// Held are the addresses of the owner's lease, for a CHECK. None: any address will do.
	Held []netip.Addr
	// Valid are the attachments of a GC. Nil: the runtime did not say.
	Valid []Owner
}

// Plugin is one IPAM plugin.
type Plugin interface {
	// Add asks for a lease. release gives it back for a caller that fails later; it leaves alone what the owner had before.
	Add(ctx context.Context) (lease Lease, release func() error, err error)
	Check(ctx context.Context) error
	Del(ctx context.Context) error
	GC(ctx context.Context) error
	Status(ctx context.Context) error
}

// Executed says whether the plugin is an executable of its own. It may need the container's link: dhcp talks through it.
func (r Request) Executed() bool { return r.Type != "" && r.Type != "host-local" }

// For is the plugin that a request asks for.
func For(r Request) Plugin {
	switch {
	case r.Executed():
		return delegate{r}
	case r.Type == "":
		return noAddresses{}
	}
	return HostLocal{r}
}

// noAddresses serves a network of layer 2.
type noAddresses struct{}

func (noAddresses) Add(context.Context) (Lease, func() error, error) {
	return Lease{}, func() error { return nil }, nil
}
func (noAddresses) Check(context.Context) error  { return nil }
func (noAddresses) Del(context.Context) error    { return nil }
func (noAddresses) GC(context.Context) error     { return nil }
func (noAddresses) Status(context.Context) error { return nil }
