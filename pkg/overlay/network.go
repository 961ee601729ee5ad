package overlay

import (
	"encoding/json"
	"net/netip"
)

// DefaultPort is the UDP port of VXLAN (RFC 7348, 4.1).
const DefaultPort = 4789

// DefaultWireguardPort is the UDP port of an encrypted network that names none. It is not the 51820 of WireGuard's own tools, which
// an administrator's device may have.
const DefaultWireguardPort = 51840

// sparePorts is from a network's port to that of its spare devices.
const sparePorts = 4096

// SparePort is the UDP port of the device that hosts have beside the first while a key is being replaced.
func SparePort(port uint16) uint16 {
	if port > 65535-sparePorts {
		return port - sparePorts
	}
	return port + sparePorts
}

// maxVNI is the largest VXLAN network identifier: 24 bits (RFC 7348, 5).
const maxVNI = 1<<24 - 1

// FirstVNI is the first that is chosen for a network. Those below are left to people and to other software, which counts from small
// ones: Docker's Swarm from 4096 (libnetwork, vxlanIDStart), Calico has 4096, flannel 1.
const FirstVNI = 1 << 16

// Network is one overlay network, described the same on all its hosts.
type Network struct {
	Name string
	// VNI is the VXLAN network identifier, 1 to 16777215.
	VNI uint32
	// Subnets hold the addresses of all containers: one, or one of each family. No host bits.
	Subnets []netip.Prefix
	// MTU of the containers in bytes; 0 means the underlay's, less Overhead.
	MTU int
	// Port is the UDP port, never 0.
	Port uint16
	// Internal networks have no way to the outside.
	Internal bool
	// IPMasq gives packets to the outside the host's address.
	IPMasq bool
	// Open networks of a host reach each other. Others are isolated.
	Open bool
	// Encrypted networks go between hosts through WireGuard, and in no other way.
	Encrypted bool
	// WireguardPort is the UDP port of that, never 0 in an encrypted network.
	WireguardPort uint16
}

// NetworkText is a network as it is written: in a network configuration, or below key network of a document.
type NetworkText struct {
	Name string `json:"name,omitempty"`
	VNI  int64  `json:"vni,omitempty"`
	// Subnet and Subnets are one list in two keys: most networks have one subnet.
	Subnet   string   `json:"subnet,omitempty"`
	Subnets  []string `json:"subnets,omitempty"`
	MTU      int      `json:"mtu,omitempty"`
	Port     int      `json:"port,omitempty"`
	Internal bool     `json:"internal,omitempty"`
	IPMasq   bool     `json:"ipMasq,omitempty"`
	// Isolated is true unless it is set to false.
	Isolated      *bool `json:"isolated,omitempty"`
	Encrypted     bool  `json:"encrypted,omitempty"`
	WireguardPort int   `json:"wireguardPort,omitempty"`
}

// Parse checks the network. Errors are ErrConfig.
func (t NetworkText) Parse() (Network, error) {
	n := Network{
		Name: t.Name, VNI: uint32(t.VNI), MTU: t.MTU, Port: uint16(t.Port),
		Internal: t.Internal, IPMasq: t.IPMasq, Open: t.Isolated != nil && !*t.Isolated,
		Encrypted: t.Encrypted, WireguardPort: uint16(t.WireguardPort),
	}
	if t.VNI < 1 || t.VNI > maxVNI {
		return Network{}, invalidf("key vni is %d: give the network an identifier from 1 to %d that no other has", t.VNI, maxVNI)
	}
	if t.Port == 0 {
		n.Port = DefaultPort
	}
	if t.Port < 0 || t.Port > 65535 {
		return Network{}, invalidf("key port is %d: give a UDP port from 1 to 65535, or leave it out for %d", t.Port, DefaultPort)
	}
	switch {
	case t.WireguardPort < 0 || t.WireguardPort > 65535:
		return Network{}, invalidf("key wireguardPort is %d: give a UDP port from 1 to 65535, or leave it out for %d", t.WireguardPort, DefaultWireguardPort)
	case t.WireguardPort != 0 && !t.Encrypted:
		return Network{}, invalidf("key wireguardPort is set, and key encrypted is not: set that too, or remove this")
	case t.Encrypted && t.WireguardPort == 0:
		n.WireguardPort = DefaultWireguardPort
	}
	if n.Encrypted && n.WireguardPort == n.Port {
		return Network{}, invalidf("keys port and wireguardPort are both %d: give WireGuard a port of its own", n.Port)
	}
	var err error
	if n.Subnets, err = t.subnets(); err != nil {
		return Network{}, err
	}
	return n, n.checkMTU()
}

// subnets reads both keys.
func (t NetworkText) subnets() ([]netip.Prefix, error) {
	var subnets []netip.Prefix
	if t.Subnet != "" {
		p, err := parsePrefix(named("key subnet"), t.Subnet)
		if err != nil {
			return nil, err
		}
		subnets = append(subnets, p)
	}
	more, err := parsePrefixes(named("subnets"), t.Subnets)
	if err != nil {
		return nil, err
	}
	subnets = append(subnets, more...)
	switch {
	case len(subnets) == 0:
		return nil, invalidf("key subnet is missing: give the network's subnet, such as 10.42.0.0/16, or one of each family in key subnets")
	case len(subnets) > 2, len(subnets) == 2 && subnets[0].Addr().Is4() == subnets[1].Addr().Is4():
		return nil, invalidf("key subnets has two subnets of one family: give one of IPv4, one of IPv6, or one of each")
	}
	return subnets, nil
}

// checkMTU refuses an MTU that the families cannot have (RFC 791, RFC 8200 section 5).
func (n Network) checkMTU() error {
	least := 68
	for _, s := range n.Subnets {
		if s.Addr().Is6() {
			least = 1280
		}
	}
	if n.MTU != 0 && (n.MTU < least || n.MTU > 65535) {
		return invalidf("key mtu is %d: give %d to 65535, or leave it out for the underlay's less the encapsulation", n.MTU, least)
	}
	return nil
}

// Text is the network as it is written.
func (n Network) Text() NetworkText {
	t := NetworkText{Name: n.Name, VNI: int64(n.VNI), MTU: n.MTU, Internal: n.Internal, IPMasq: n.IPMasq}
	for _, s := range n.Subnets {
		t.Subnets = append(t.Subnets, s.String())
	}
	if n.Port != DefaultPort {
		t.Port = int(n.Port)
	}
	if t.Encrypted = n.Encrypted; n.Encrypted && n.WireguardPort != DefaultWireguardPort {
		t.WireguardPort = int(n.WireguardPort)
	}
	if n.Open {
		t.Isolated = new(bool)
	}
	return t
}

// MarshalJSON writes the network's text.
func (n Network) MarshalJSON() ([]byte, error) { return json.Marshal(n.Text()) }

// UnmarshalJSON reads and checks the network. Errors are ErrConfig or those of encoding/json.
func (n *Network) UnmarshalJSON(data []byte) error {
	var t NetworkText
	if err := json.Unmarshal(data, &t); err != nil {
		return err
	}
	var err error
	*n, err = t.Parse()
	return err
}
