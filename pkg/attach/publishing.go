package attach

import (
	"encoding/json"
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/netconf"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// Publishing is the keys of a plugin that publishes ports itself, where its entry in the list declares the capability
// portMappings; otherwise portmap may stand behind it. A configuration embeds it.
type Publishing struct {
	Capabilities map[string]bool `json:"capabilities"`
	// HostIP is the address of the host for ports that name none. Empty: all.
	HostIP string `json:"hostIP"`
	// PublishFrom is who may come in. Empty: all.
	PublishFrom []string `json:"publishFrom"`
}

// Publishes says whether the plugin publishes ports.
func (p Publishing) Publishes() bool { return p.Capabilities["portMappings"] }

// Ports reads the ports that a runtime wants published.
func (p Publishing) Ports(asked Asked) ([]ports.Port, error) {
	if !p.Publishes() {
		return nil, nil
	}
	return readPorts(p.HostIP, p.PublishFrom, asked.RuntimeConfig.PortMappings)
}

// readPorts reads the keys of that name, and the ports.
func readPorts(hostIP string, publishFrom []string, text json.RawMessage) ([]ports.Port, error) {
	var mappings []PortMapping
	if err := netconf.DecodeAt("runtimeConfig.portMappings", text, &mappings); err != nil {
		return nil, err
	}
	var at netip.Addr
	var err error
	if hostIP != "" {
		if at, err = HostIP("key hostIP is", hostIP); err != nil {
			return nil, err
		}
	}
	from, err := Prefixes("key publishFrom has", publishFrom)
	if err != nil {
		return nil, err
	}
	return PublishedPorts(mappings, at, from)
}

// Published declares ports of a container, at the first address of each family. By the link the host reaches it.
func Published(owner state.Owner, link string, lease Lease, list []ports.Port) ports.Published {
	p := ports.Published{Owner: owner, Link: link, Ports: list, Hairpin: true}
	var has4, has6 bool
	for _, ip := range lease.IPs {
		addr := ip.Prefix.Addr()
		if addr.Is4() && has4 || addr.Is6() && has6 {
			continue
		}
		has4, has6 = has4 || addr.Is4(), has6 || addr.Is6()
		p.Addrs = append(p.Addrs, addr)
	}
	return p
}
