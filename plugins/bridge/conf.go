package main

import (
	"net"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// conf is the configuration of a bridge network. The keys and their meaning are those of the upstream plugin v1.9.1;
// Internal, AcceptRA, ICC and Isolated are ours.
type conf struct {
	Bridge              string `json:"bridge"`
	IsGateway           bool   `json:"isGateway"`
	IsDefaultGateway    bool   `json:"isDefaultGateway"`
	ForceAddress        bool   `json:"forceAddress"`
	IPMasq              bool   `json:"ipMasq"`
	IPMasqBackend       string `json:"ipMasqBackend"`
	MTU                 int    `json:"mtu"` // bytes; 0: of the path to the outside
	HairpinMode         bool   `json:"hairpinMode"`
	PromiscMode         bool   `json:"promiscMode"`
	VLAN                int    `json:"vlan"`
	VLANTrunk           trunk  `json:"vlanTrunk"`
	PreserveDefaultVLAN bool   `json:"preserveDefaultVlan"`
	MACSpoofCheck       bool   `json:"macspoofchk"`
	EnableDAD           bool   `json:"enabledad"`
	// DisableContainerInterface leaves the container's interface down, for a guest that takes it over.
	DisableContainerInterface bool `json:"disableContainerInterface"`
	PortIsolation             bool `json:"portIsolation"`

	// Internal: no default route, and nothing is forwarded from or to the bridge.
	Internal bool `json:"internal"`
	// AcceptRA: the container takes addresses and routes from router advertisements, beside those of ipam.
	AcceptRA bool `json:"acceptRA"`
	// ICC false: containers of the bridge cannot reach each other. Docker's default is true.
	ICC *bool `json:"icc"`
	// Isolated: other bridges of fairway cannot reach it, nor it them.
	Isolated bool `json:"isolated"`

	IPAM struct {
		Type string `json:"type"`
	} `json:"ipam"`
	attach.Asked
	// Routed: what comes from outside may go to containers by their own addresses, beside published ports.
	Routed bool `json:"routed"`
	attach.Publishing

	mac    net.HardwareAddr // nil: the owner's stable one
	tagged []uint16
	ports  []ports.Port
}

func parse(stdin []byte, env attach.Env) (conf, error) {
	c := conf{Bridge: "cni0"}
	if err := attach.Decode(stdin, &c); err != nil {
		return c, err
	}
	c.IsGateway = c.IsGateway || c.IsDefaultGateway
	c.PortIsolation = c.PortIsolation || c.separates()
	var err error
	if c.mac, err = c.AskedMAC("", env); err != nil {
		return c, err
	}
	if c.tagged, err = c.VLANTrunk.vlans(); err != nil {
		return c, err
	}
	if c.ports, err = c.Ports(c.Asked); err != nil {
		return c, err
	}
	return c, c.check()
}

// separates says whether containers of the bridge cannot reach each other.
func (c conf) separates() bool { return c.ICC != nil && !*c.ICC }

// check refuses values that cannot be, alone or together.
func (c conf) check() error {
	if err := attach.CheckLinkName(c.Bridge); err != nil {
		return attach.Invalidf("key bridge %w", err)
	}
	// The limits of a bridge's MTU in the kernel: RFC 791's smallest, and ETH_MAX_MTU.
	if c.MTU != 0 && (c.MTU < 68 || c.MTU > 65535) {
		return attach.Invalidf("key mtu is %d: give 68 to 65535, or leave it out for the MTU of the path to the outside", c.MTU)
	}
	if c.VLAN < 0 || c.VLAN > maxVLAN {
		return attach.Invalidf("key vlan is %d: give 1 to %d, or leave it out", c.VLAN, maxVLAN)
	}
	if c.VLAN != 0 && c.IsGateway {
		if err := attach.CheckLinkName(c.gateway().Link()); err != nil {
			return attach.Invalidf("key bridge with vlan and isGateway: the gateway's interface %w", err)
		}
	}
	if c.HairpinMode && c.PromiscMode {
		return attach.Invalidf("keys hairpinMode and promiscMode are both true: a frame would come back twice, choose one")
	}
	if c.DisableContainerInterface && c.IPAM.Type != "" {
		return attach.Invalidf("key disableContainerInterface is true and key ipam is set: an interface that is down has no addresses, remove one of the two")
	}
	switch c.IPMasqBackend {
	case "", "nftables", "iptables":
		return nil
	}
	return attach.Invalidf("key ipMasqBackend is %q: give \"nftables\", or leave it out", c.IPMasqBackend)
}
