package main

import (
	"fmt"
	"os"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
)

// resolve reads the file of peers, finds this host among them, and the underlay it is reached through.
func resolve(c conf, k *attach.Kernel) (conf, error) {
	if c.PeersFile != "" {
		if err := c.readPeers(); err != nil {
			return c, fmt.Errorf("key peersFile %q: %w", c.PeersFile, err)
		}
	}
	local, err := vxlan.HostAddresses(k)
	if err != nil {
		return c, err
	}
	if c.own, err = c.hosts.Own(local); err != nil {
		return c, err
	}
	if len(c.own.Blocks) == 0 {
		return c, c.noBlock()
	}
	underlay, err := vxlan.UnderlayOf(k, c.own.VTEP)
	if err != nil {
		return c, err
	}
	c.underlayMTU = underlay.MTU
	if most := underlay.MTU - overlay.Overhead(c.own.VTEP); c.network.MTU > most {
		return c, attach.Invalidf("key mtu is %d: link %s has an MTU of %d, which leaves %d beside VXLAN, give no more or leave it out",
			c.network.MTU, underlay.Link, underlay.MTU, most)
	}
	declared := c.overlay(c.Name)
	c.declared = &declared
	return c, nil
}

// readPeers takes the hosts from the file, and the network unless the configuration has it. Key self of the configuration
// wins.
func (c *conf) readPeers() error {
	data, err := os.ReadFile(c.PeersFile)
	if err != nil {
		return err
	}
	document, err := overlay.Decode(data)
	if err != nil {
		return err
	}
	self := c.hosts.Self
	if c.hosts = document.Hosts; self.IsValid() {
		c.hosts.Self = self
	}
	c.partial = document.Partial
	if len(c.network.Subnets) == 0 {
		if document.Network == nil {
			return attach.Invalidf("it has no network, and neither has the configuration: set keys vni and subnet")
		}
		name := c.network.Name
		c.network = *document.Network
		c.network.Name = name
		return nil // Decode has checked the hosts against it
	}
	return c.network.Check(c.hosts)
}

// noBlock is the error for a host that owns no part of the subnets.
func (c conf) noBlock() error {
	if c.Agent != "" {
		return fmt.Errorf("%w is this host's yet: the node agent claims one when it reaches its store, try again", overlay.ErrNoBlock)
	}
	return attach.Invalidf("the entry of key peers for this host (vtep %s) has no subnets: give it a part of the network's", c.own.VTEP)
}
