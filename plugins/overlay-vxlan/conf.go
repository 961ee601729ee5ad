package main

import (
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/wgkey"
)

// conf is the configuration of an overlay network on one host.
type conf struct {
	overlay.NetworkText
	overlay.PeersText
	// PeersFile holds the hosts instead of key peers, and may hold the network too.
	PeersFile string `json:"peersFile"`
	// Agent is the socket of the node agent that keeps peersFile and the kernel up to date. Empty: there is none.
	Agent string `json:"agent"`
	// PrivateKeyFile holds this host's key of an encrypted network. With a node agent, that has the key.
	PrivateKeyFile string `json:"privateKeyFile"`

	IPAM struct {
		Type       string            `json:"type"`
		DataDir    string            `json:"dataDir"`
		ResolvConf string            `json:"resolvConf"`
		Routes     []json.RawMessage `json:"routes"`
	} `json:"ipam"`
	attach.Asked
	attach.Publishing

	verb  string
	again bool             // declares again what others may have flushed
	alone bool             // and no agent runs that would
	mac   net.HardwareAddr // nil: the owner's stable one
	asked []netip.Addr     // addresses that the runtime asks for
	ports []ports.Port

	network overlay.Network
	hosts   overlay.Hosts
	// What follows is known after resolve.
	document    overlay.Document // the file; the zero value without one
	partial     bool             // of what is known: peers may be missing
	own         overlay.Peer
	joins       bool // STATUS: the first container makes the host a member, with blocks that are not known yet
	underlayMTU int
	key         wgkey.Private  // of an encrypted network without a node agent
	declared    *vxlan.Overlay // an ADD is planned twice
}

func parse(stdin []byte, env attach.Env) (conf, error) {
	c := conf{verb: env.Command, again: env.Redeclare != ""}
	if err := attach.Decode(stdin, &c); err != nil {
		return c, err
	}
	c.network = overlay.Network{Name: c.Name, VNI: uint32(c.VNI), Port: overlay.DefaultPort}
	if err := c.check(); err != nil {
		return c, err
	}
	var err error
	if c.mac, err = c.AskedMAC("", env); err != nil {
		return c, err
	}
	c.asked = addresses(strings.Split(env.Arg("IP"), ","), c.Args.CNI.IPs, c.RuntimeConfig.IPs)
	if c.ports, err = c.Ports(c.Asked); err != nil {
		return c, err
	}
	if c.hosts, err = c.PeersText.Parse(); err != nil {
		return c, err
	}
	if c.PeersFile != "" && c.VNI == 0 && (c.Encrypted || c.Subnet == "" && c.Subnets == nil) {
		return c, nil // the file has the network
	}
	network, err := c.NetworkText.Parse()
	if err != nil {
		return c, err
	}
	c.network = network
	if err := network.Check(c.hosts); err != nil {
		return c, err
	}
	return c, c.checkKeys()
}

// check refuses keys that do not go together.
func (c conf) check() error {
	switch {
	case c.PeersFile == "" && c.PeersText.Peers == nil:
		return attach.Invalidf("key peers is missing: list the hosts with their blocks, or name a file that does in key peersFile")
	case c.PeersFile != "" && c.PeersText.Peers != nil:
		return attach.Invalidf("keys peers and peersFile are both set: remove one of the two")
	case c.PeersFile != "" && !strings.HasPrefix(c.PeersFile, "/"):
		return attach.Invalidf("key peersFile is %q: give a path from the root, as a runtime may call from anywhere", c.PeersFile)
	case c.Agent != "" && c.PeersFile == "":
		return attach.Invalidf("key agent is set without key peersFile: name the file that the agent keeps")
	case c.Encrypted && c.Agent == "" && c.PrivateKeyFile == "":
		return attach.Invalidf("key privateKeyFile is missing: name the file of this host's key, which `fairway overlay genkey` makes, or remove key encrypted")
	case c.PrivateKeyFile != "" && c.Agent != "":
		return attach.Invalidf("keys privateKeyFile and agent are both set: the node agent keeps the key, remove privateKeyFile")
	case c.PrivateKeyFile != "" && !strings.HasPrefix(c.PrivateKeyFile, "/"):
		return attach.Invalidf("key privateKeyFile is %q: give a path from the root, as a runtime may call from anywhere", c.PrivateKeyFile)
	case c.IPAM.Type != "" && c.IPAM.Type != "host-local":
		return attach.Invalidf("key ipam.type is %q: addresses come from the host's own blocks by host-local, remove it", c.IPAM.Type)
	}
	return nil
}

// checkKeys refuses an encrypted network with a host that nobody could reach, and a key for a network that is not encrypted, which would
// go in clear. Known hosts without a key are the node agent's business, which names them.
func (c conf) checkKeys() error {
	switch {
	case c.Encrypted && !c.network.Encrypted:
		return attach.Invalidf("key encrypted is set, and the network of peersFile is not encrypted: remove the key here, or set it there")
	case !c.network.Encrypted && c.PrivateKeyFile != "":
		return attach.Invalidf("key privateKeyFile is set, and key encrypted is not: set encrypted to true, or remove privateKeyFile")
	case !c.network.Encrypted || c.Agent != "":
		return nil
	case c.PrivateKeyFile == "":
		return attach.Invalidf("key privateKeyFile is missing: the network is encrypted, name the file of this host's key")
	}
	for i, p := range c.hosts.Peers {
		if p.Key.IsZero() {
			return attach.Invalidf("peers[%d].publicKey is missing: the network is encrypted, give the public key of host %s", i, p.VTEP)
		}
	}
	return nil
}

// addresses reads the addresses that a runtime asks for, with or without a prefix length. What is none, host-local
// refuses.
func addresses(places ...[]string) (list []netip.Addr) {
	for _, text := range slices.Concat(places...) {
		text, _, _ = strings.Cut(strings.TrimSpace(text), "/")
		if addr, err := netip.ParseAddr(text); err == nil {
			list = append(list, addr.Unmap())
		}
	}
	return list
}
