package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/fence"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/wgkey"
)

// resolve reads the file of peers, finds this host among them, and the underlay it is reached through. With a node agent, the first
// container of a network makes the host a member of it.
func resolve(c conf, k *attach.Kernel) (conf, error) {
	err := c.read()
	if err == nil && c.verb == "ADD" && c.Agent != "" && !c.offered() {
		joined := vxlan.Agent{Socket: c.Agent}.Join(c.Name)
		if err = c.read(); err == nil && !c.offered() {
			return c, noBlock(joined)
		}
	}
	if err == nil && c.verb == "STATUS" && c.Agent != "" && !c.offered() {
		c.joins = true // and asks for nothing: to ask would make the host a member
		if silent := (vxlan.Agent{Socket: c.Agent, Network: c.Name}).Answers(); silent != nil {
			return c, noBlock(silent)
		}
	}
	if err != nil {
		return c, err
	}
	// An agent that runs looks at what the network has lost by itself, and knows more than its files where those could not be written.
	c.alone = c.again && (c.Agent == "" || (vxlan.Agent{Socket: c.Agent, Network: c.Name}).Answers() != nil)
	if c.Agent != "" && len(c.hosts.Peers) == 0 {
		c.own = overlay.Peer{VTEP: c.hosts.Self} // no member, which STATUS and CHECK may meet
	} else if c.own, err = c.ownEntry(k); err != nil {
		return c, err
	}
	if err := c.mayGive(); err != nil {
		return c, err
	}
	if err := c.readKey(); err != nil {
		return c, err
	}
	if err := c.measure(k); err != nil {
		return c, err
	}
	declared := c.overlay(c.Name)
	if c.document.Full != "" && (c.verb == "ADD" || c.again) {
		if declared, err = c.complete(k, declared); err != nil {
			return c, err
		}
	}
	c.declared = &declared
	return c, nil
}

// read reads the file of peers, if there is one.
func (c *conf) read() error {
	if c.PeersFile == "" {
		return nil
	}
	if err := c.readPeers(c.PeersFile); err != nil {
		return fmt.Errorf("key peersFile %q: %w", c.PeersFile, err)
	}
	return nil
}

// offered says whether the host has a block of each subnet that it may give addresses of.
func (c conf) offered() bool {
	own, err := c.hosts.Own(nil)
	for _, subnet := range c.network.Subnets {
		has := slices.ContainsFunc(own.Blocks, func(b netip.Prefix) bool { return subnet.Overlaps(b) && !slices.Contains(c.document.Withheld, b) })
		if err != nil || !has {
			return false
		}
	}
	return true
}

// ownEntry is this host's.
func (c conf) ownEntry(k *attach.Kernel) (overlay.Peer, error) {
	local, err := vxlan.HostAddresses(k)
	if err != nil {
		return overlay.Peer{}, err
	}
	own, err := c.hosts.Own(local)
	if err == nil && len(own.Blocks) == 0 && c.Agent == "" {
		err = attach.Invalidf("the entry of key peers for this host (vtep %s) has no subnets: give it a part of the network's", own.VTEP)
	}
	return own, err
}

// mayGive says whether the host may give out addresses: its blocks may be others' when it was away for long.
func (c conf) mayGive() error {
	if c.document.Confirmed == "" || c.verb == "CHECK" {
		return nil
	}
	f, err := fence.Read(c.document.Confirmed)
	if err != nil {
		return fmt.Errorf("%w: %w", overlay.ErrFenced, err)
	}
	boot, err := fence.BootID()
	if err != nil {
		return err
	}
	if err := f.Check(fence.Clock(boot)); err != nil {
		return fmt.Errorf("%w: %w", overlay.ErrFenced, err)
	}
	return nil
}

// readKey reads this host's private key, which has to be the one of its entry: the others would not know it.
func (c *conf) readKey() (err error) {
	if !c.network.Encrypted || c.Agent != "" {
		return nil
	}
	if c.key, err = wgkey.Read(c.PrivateKeyFile); err != nil {
		return attach.Invalidf("key privateKeyFile: %w", err)
	}
	if public := c.key.Public(); public != c.own.Key {
		return attach.Invalidf("the public key of privateKeyFile %s is %s, and that of this host's entry (vtep %s) is %s: write the former there, on all hosts",
			c.PrivateKeyFile, public, c.own.VTEP, c.own.Key)
	}
	return nil
}

// measure finds the MTU of the underlay: that of this host, or the least of all as far as it is known.
func (c *conf) measure(k *attach.Kernel) error {
	underlay, err := vxlan.UnderlayOf(k, c.own.VTEP)
	if err != nil {
		return err
	}
	c.underlayMTU = underlay.MTU
	if most := underlay.MTU - c.network.Overhead(c.own.VTEP); c.network.MTU > most {
		beside := "VXLAN"
		if c.network.Encrypted {
			beside = "WireGuard"
		}
		return attach.Invalidf("key mtu is %d: link %s has an MTU of %d, which leaves %d beside %s, give no more or leave it out",
			c.network.MTU, underlay.Link, underlay.MTU, most, beside)
	}
	if least := c.document.UnderlayMTU; least > 0 {
		c.underlayMTU = min(c.underlayMTU, least)
	}
	return nil
}

// complete reads all peers when the device or the filters are not there with them: the small file is enough as long as they are.
// Who declares again without an agent does so in any case, and takes nothing away: the agent may have known of more.
func (c *conf) complete(k *attach.Kernel, declared vxlan.Overlay) (vxlan.Overlay, error) {
	there, err := declared.Complete(k)
	if err != nil || there && !c.alone {
		return declared, err
	}
	small := c.document
	if err := c.readPeers(c.document.Full); err != nil {
		return declared, nil // the agent makes up for it
	}
	c.document, c.partial = small, c.again
	return c.overlay(c.Name), nil
}

// readPeers takes the hosts from the file, and the network unless the configuration has it. Key self of the configuration
// wins.
func (c *conf) readPeers(file string) error {
	data, err := os.ReadFile(file)
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
	c.document, c.partial = document, document.Partial
	if len(c.network.Subnets) == 0 {
		if document.Network == nil {
			return attach.Invalidf("it has no network, and neither has the configuration: set keys vni and subnet")
		}
		name := c.network.Name
		c.network = *document.Network
		c.network.Name = name
		return c.checkKeys() // Decode has checked the hosts against the network
	}
	if err := c.network.Check(c.hosts); err != nil {
		return err
	}
	return c.checkKeys()
}

// noBlock is the error for a host that owns no part of the subnets, and why it could not become a member.
func noBlock(joined error) error {
	if joined == nil {
		return fmt.Errorf("%w is this host's yet: try again", overlay.ErrNoBlock)
	}
	return fmt.Errorf("%w is this host's yet: %w", overlay.ErrNoBlock, joined)
}
