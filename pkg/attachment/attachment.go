package attachment

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/identifier"
	"github.com/fairway-cni/fairway/pkg/liveness"
)

// Attachment is one interface of a container on a network, as libcni's cache has it.
type Attachment struct {
	Network string
	// ID is the container's, as its runtime gave it to CNI: of ctr and nerdctl "NAMESPACE-ID", of CRI the sandbox's.
	ID     string
	IfName string
	// Netns is the path of the container's namespace at the time of ADD. It may have gone. Empty: unknown.
	Netns string
	// Name is what people call the container. Empty: the runtime did not say.
	Name string
	// Aliases are further names of the container on this network.
	Aliases []string

	// MAC and Addresses are those of the interface. Nil: the plugin told of none.
	MAC       net.HardwareAddr
	Addresses []netip.Prefix
	// Gateways are the next hops that the plugin told of.
	Gateways []netip.Addr
	// Routes are what the plugin told of in the container's namespace, with their next hops.
	Routes []Route
	// DNS is what the network says about resolving names.
	DNS types.DNS

	// Unrecorded: no runtime's record is known, and the kernel has the interface.
	Unrecorded bool

	// tagOnly: ID is the tag of the owner, whose parts are hashed.
	tagOnly  bool
	record   *libcni.NetworkAttachment
	cache    string // libcni's directory of the record. Empty: the Runtime's
	mark     liveness.Mark
	hostEnds []hostEnd
	observer *liveness.Observer // shared by what was listed at once
}

// Route is a route of a container.
type Route struct {
	Dst netip.Prefix
	Via netip.Addr // zero: on the link
}

// DisplayName is the container's name, or its ID where there is none, as it is shown to a person.
func (a Attachment) DisplayName() string { return identifier.Printable(cmp.Or(a.Name, a.ID)) }

// Keys of CNI_ARGS by which runtimes name a container: podman and CRI the first, nerdctl the second.
const (
	argName     = "K8S_POD_NAME"
	argHostname = "NERDCTL_CNI_DHCP_HOSTNAME"
)

// ArgAliases is the key of CNI_ARGS with the aliases, separated by commas, for a network without the capability.
const ArgAliases = "FAIRWAY_ALIASES"

// describe reads what the cache holds of an attachment; result is nil when it could not be read.
func describe(record *libcni.NetworkAttachment, result *types100.Result) Attachment {
	a := Attachment{
		Network: record.Network, ID: record.ContainerID, IfName: record.IfName, Netns: record.NetNS, record: record,
		Name: cmp.Or(arg(record, argName), arg(record, argHostname)), Aliases: aliases(record),
	}
	a.mark, _ = liveness.ParseMark(arg(record, argNetns)) // other runtimes record none
	if result == nil {
		return a
	}
	a.DNS = result.DNS
	sandbox := a.interfaces(result)
	for _, ip := range result.IPs {
		if ip.Interface != nil && len(sandbox) > 0 && !slices.Contains(sandbox, *ip.Interface) {
			continue
		}
		addr, ok := netip.AddrFromSlice(ip.Address.IP)
		if !ok {
			continue
		}
		bits, _ := ip.Address.Mask.Size()
		a.Addresses = append(a.Addresses, netip.PrefixFrom(addr.Unmap(), bits))
		if gateway, ok := netip.AddrFromSlice(ip.Gateway); ok {
			a.Gateways = append(a.Gateways, gateway.Unmap())
		}
	}
	a.Routes = a.routes(result)
	return a
}

// routes are those of a result. One without a next hop has the gateway of its family (CNI specification 1.1.0, section 5, "Success").
func (a *Attachment) routes(result *types100.Result) []Route {
	var routes []Route
	for _, r := range result.Routes {
		if r == nil {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		if !ok {
			continue
		}
		route := Route{Dst: netip.PrefixFrom(addr.Unmap(), bits)}
		if via, ok := netip.AddrFromSlice(r.GW); ok {
			route.Via = via.Unmap()
		}
		for _, gateway := range a.Gateways {
			if !route.Via.IsValid() && gateway.Is4() == route.Dst.Addr().Is4() {
				route.Via = gateway
			}
		}
		routes = append(routes, route)
	}
	return routes
}

// interfaces finds the container's own interface among those of a result, by name, and notes its MAC, and those of the host.
func (a *Attachment) interfaces(result *types100.Result) (indices []int) {
	for i, link := range result.Interfaces {
		if link == nil {
			continue
		}
		mac, _ := net.ParseMAC(link.Mac) // nil: none
		if link.Sandbox == "" {
			a.hostEnds = append(a.hostEnds, hostEnd{link.Name, mac})
			continue
		}
		if link.Name != a.IfName {
			continue
		}
		indices = append(indices, i)
		if !slices.Equal(mac, make(net.HardwareAddr, len(mac))) { // that of lo
			a.MAC = mac
		}
		a.Netns = cmp.Or(a.Netns, link.Sandbox) // CNI libraries before 1.3 do not record the path
	}
	return indices
}

func arg(record *libcni.NetworkAttachment, key string) (value string) {
	for _, pair := range record.CniArgs {
		if pair[0] == key {
			value = pair[1]
		}
	}
	return value
}

// aliases reads the capability, which is a list, and for podman one by network. Podman has the container's short ID among
// them.
func aliases(record *libcni.NetworkAttachment) (names []string) {
	given := record.CapabilityArgs[capAliases]
	if byNetwork, ok := given.(map[string]any); ok {
		given = byNetwork[record.Network]
	}
	if list, ok := given.([]any); ok {
		for _, name := range list {
			if text, ok := name.(string); ok {
				names = append(names, text)
			}
		}
	}
	if text := arg(record, ArgAliases); text != "" {
		names = append(names, strings.Split(text, ",")...)
	}
	return names
}
