package attachment

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/identifier"
	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// Request is what is asked for when a container is attached.
type Request struct {
	// ID, Name and Netns are the container's; Name may be empty.
	ID, Name, Netns string
	// New: no plugin has ever been executed for a container of the ID.
	New bool
	// File is that of the network: it must be there still, and is read again, once the network is locked. Empty: the network is in none.
	File string
	// IfName is the interface. Empty: the next ethN that is free.
	IfName string
	// IPs are addresses the container has to get, one of a family. Empty: what the network gives.
	IPs []netip.Addr
	// MAC of the interface. Nil: the network's choice.
	MAC net.HardwareAddr
	// Aliases are further names of the container on this network.
	Aliases []string
	// Servers answer for names that are not of its networks. Empty: the network's, or the host's.
	Servers []netip.Addr
	// Ports are published at the host. They need a network with the capability.
	Ports []ports.Port
}

// DisplayName is the container's name, or its ID where there is none.
func (r Request) DisplayName() string { return identifier.Printable(cmp.Or(r.Name, r.ID)) }

// Capabilities of CNI's conventions by which a runtime hands over what was asked for.
const (
	capIPs     = "ips"
	capMAC     = "mac"
	capAliases = "aliases"
	capDNS     = "dns"
	capPorts   = "portMappings"
)

// configure translates the request: into capabilities where the network has them, and else into CNI_ARGS and args, which
// plugins without it heed (CNI conventions, "Dynamic Plugin specific fields").
func (r Request) configure(network *libcni.NetworkConfigList) (*libcni.NetworkConfigList, *libcni.RuntimeConf, error) {
	if len(network.Plugins) == 0 {
		return nil, nil, fmt.Errorf("network %s has no plugins", network.Name)
	}
	rt := &libcni.RuntimeConf{
		ContainerID: r.ID, NetNS: r.Netns, IfName: r.IfName, CapabilityArgs: map[string]any{},
		Args: [][2]string{{"IgnoreUnknown", "1"}},
	}
	if r.Name != "" {
		rt.Args = append(rt.Args, [2]string{argName, r.Name})
	}
	if mark, err := liveness.MarkAt(r.Netns); err == nil { // else it is the plugins' to say what is wrong
		rt.Args = append(rt.Args, [2]string{argNetns, mark.String()})
	}
	switch {
	case r.MAC == nil:
	case has(network, capMAC):
		rt.CapabilityArgs[capMAC] = r.MAC.String()
	default:
		rt.Args = append(rt.Args, [2]string{"MAC", r.MAC.String()})
	}
	switch {
	case len(r.Aliases) == 0:
	case has(network, capAliases):
		rt.CapabilityArgs[capAliases] = r.Aliases
	default:
		rt.Args = append(rt.Args, [2]string{ArgAliases, strings.Join(r.Aliases, ",")})
	}
	if len(r.Servers) > 0 && has(network, capDNS) {
		rt.CapabilityArgs[capDNS] = map[string]any{"servers": texts(r.Servers)}
	}
	switch {
	case len(r.Ports) == 0:
	case Publishes(network):
		rt.CapabilityArgs[capPorts] = mappings(r.Ports)
	default:
		return nil, nil, fmt.Errorf("network %s publishes no ports: no plugin of it has the capability %s", network.Name, capPorts)
	}
	switch {
	case len(r.IPs) == 0:
	case has(network, capIPs):
		rt.CapabilityArgs[capIPs] = texts(r.IPs)
	default:
		conf, err := withArgs(network, map[string]any{"ips": texts(r.IPs)})
		return conf, rt, err
	}
	return network, rt, nil
}

// Publishes says whether a network can publish ports.
func Publishes(network *libcni.NetworkConfigList) bool { return has(network, capPorts) }

// mappings writes ports as the capability has them, each one by itself.
func mappings(list []ports.Port) []map[string]any {
	var all []map[string]any
	for _, p := range list {
		for _, single := range p.Singles() {
			mapping := map[string]any{
				"hostPort": int(single.HostPort), "containerPort": int(single.ContainerPort), "protocol": ports.ProtocolName(single.Protocol),
			}
			if single.HostIP.IsValid() {
				mapping["hostIP"] = single.HostIP.String()
			}
			all = append(all, mapping)
		}
	}
	return all
}

func has(network *libcni.NetworkConfigList, capability string) bool {
	return slices.ContainsFunc(network.Plugins, func(p *libcni.PluginConfig) bool {
		return p.Network.Capabilities[capability]
	})
}

func texts(ips []netip.Addr) []string {
	all := make([]string, len(ips))
	for i, ip := range ips {
		all[i] = ip.String()
	}
	return all
}

// withArgs adds the key args.cni to the configuration of the first plugin, which hands it to its IPAM plugin.
func withArgs(network *libcni.NetworkConfigList, args map[string]any) (*libcni.NetworkConfigList, error) {
	first, err := libcni.InjectConf(network.Plugins[0], map[string]any{"args": map[string]any{"cni": args}})
	if err != nil {
		return nil, fmt.Errorf("network %s: args: %w", network.Name, err)
	}
	asked := *network
	asked.Plugins = append([]*libcni.PluginConfig{first}, network.Plugins[1:]...)
	return &asked, nil
}

// honouredBy says whether an attachment is what was requested: a plugin need not heed what it does not know.
func (r Request) honouredBy(a Attachment) error {
	for _, ip := range r.IPs {
		if !slices.ContainsFunc(a.Addresses, func(p netip.Prefix) bool { return p.Addr() == ip }) {
			return fmt.Errorf("network %s cannot give the address %s: its plugins choose addresses themselves", a.Network, ip)
		}
	}
	if r.MAC != nil && !bytes.Equal(r.MAC, a.MAC) {
		return fmt.Errorf("network %s cannot give the MAC address %s: its plugins choose it themselves", a.Network, r.MAC)
	}
	return nil
}
