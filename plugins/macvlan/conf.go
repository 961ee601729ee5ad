package main

import (
	"net"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state/lan"
)

// conf is the configuration of a macvlan network. The keys and their meaning are those of the upstream plugin v1.9.1;
// EnableDAD, AcceptRA and HostAccess are ours.
type conf struct {
	Master          string          `json:"master"` // empty: that of the default route
	Mode            lan.MacvlanMode `json:"mode"`
	MTU             int             `json:"mtu"` // bytes; 0: the master's
	MAC             string          `json:"mac"`
	LinkInContainer bool            `json:"linkInContainer"`
	BCQueueLen      uint32          `json:"bcqueuelen"` // frames; 0: the kernel's default
	EnableDAD       bool            `json:"enabledad"`
	// AcceptRA: the container takes addresses and routes from router advertisements, beside those of ipam.
	AcceptRA bool `json:"acceptRA"`
	// HostAccess: the host and its containers reach each other.
	HostAccess bool `json:"hostAccess"`

	IPAM struct {
		Type string `json:"type"`
	} `json:"ipam"`
	attach.Asked

	mac net.HardwareAddr // nil: the owner's stable one
}

func parse(stdin []byte, env attach.Env) (conf, error) {
	var c conf
	if err := attach.Decode(stdin, &c); err != nil {
		return c, err
	}
	if c.Mode == "" {
		c.Mode = lan.MacvlanBridge
	}
	var err error
	if c.mac, err = c.AskedMAC(c.MAC, env); err != nil {
		return c, err
	}
	return c, c.check()
}

// check refuses values that cannot be, alone or together.
func (c conf) check() error {
	if c.Master != "" {
		if err := attach.CheckLinkName(c.Master); err != nil {
			return attach.Invalidf("key master %w", err)
		}
	}
	switch c.Mode {
	case lan.MacvlanBridge, lan.MacvlanPrivate, lan.MacvlanVEPA, lan.MacvlanPassthru:
	default:
		return attach.Invalidf("key mode is %q: give \"bridge\", \"private\", \"vepa\" or \"passthru\"", c.Mode)
	}
	// The limits of an Ethernet link's MTU in the kernel: RFC 791's smallest, and ETH_MAX_MTU. The master's is the real one.
	if c.MTU != 0 && (c.MTU < 68 || c.MTU > 65535) {
		return attach.Invalidf("key mtu is %d: give 68 to the master's, or leave it out for the master's", c.MTU)
	}
	return c.checkHostAccess()
}

// checkHostAccess: the host's own link is in mode bridge, and has addresses that host-local lends it.
func (c conf) checkHostAccess() error {
	switch {
	case !c.HostAccess:
		return nil
	case c.Mode != lan.MacvlanBridge:
		return attach.Invalidf("key hostAccess is true and key mode is %q, in which no other interface reaches the container: "+
			"set mode to \"bridge\", or remove hostAccess", c.Mode)
	case c.LinkInContainer:
		return attach.Invalidf("keys hostAccess and linkInContainer are both true: the host has no part in a network inside a container, choose one")
	case c.IPAM.Type != "host-local":
		return attach.Invalidf("key hostAccess is true and key ipam.type is %q: the host takes an address of its own from host-local, "+
			"set ipam.type to \"host-local\", or remove hostAccess", c.IPAM.Type)
	}
	return nil
}
