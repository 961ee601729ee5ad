package main

import (
	"net"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// conf is the configuration. The keys and their meaning are those of the upstream plugin v1.9.1; a MAC that is asked for, and
// Publishing's keys, are ours.
type conf struct {
	IPMasq        bool   `json:"ipMasq"`
	IPMasqBackend string `json:"ipMasqBackend"`
	MTU           int    `json:"mtu"` // bytes; 0: of the path to the outside

	IPAM struct {
		Type string `json:"type"`
	} `json:"ipam"`
	attach.Asked
	attach.Publishing

	mac   net.HardwareAddr // nil: the owner's stable one
	ports []ports.Port
}

func parse(stdin []byte, env attach.Env) (conf, error) {
	var c conf
	if err := attach.Decode(stdin, &c); err != nil {
		return c, err
	}
	var err error
	if c.mac, err = c.AskedMAC("", env); err != nil {
		return c, err
	}
	if c.ports, err = c.Ports(c.Asked); err != nil {
		return c, err
	}
	return c, c.check()
}

// check refuses values that cannot be.
func (c conf) check() error {
	if c.IPAM.Type == "" {
		return attach.Invalidf("key ipam.type is missing: name a plugin that gives the container an address, such as \"host-local\"")
	}
	// The limits of a veth's MTU in the kernel: RFC 791's smallest, and ETH_MAX_MTU.
	if c.MTU != 0 && (c.MTU < 68 || c.MTU > 65535) {
		return attach.Invalidf("key mtu is %d: give 68 to 65535, or leave it out for the MTU of the path to the outside", c.MTU)
	}
	switch c.IPMasqBackend {
	case "", "nftables", "iptables":
		return nil
	}
	return attach.Invalidf("key ipMasqBackend is %q: give \"nftables\", or leave it out", c.IPMasqBackend)
}
