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
)

// conf is the configuration of an overlay network on one host.
type conf struct {
	overlay.NetworkText
	overlay.PeersText
	// PeersFile holds the hosts instead of key peers, and may hold the network too.
	PeersFile string `json:"peersFile"`
	// Agent is the socket of the node agent that keeps peersFile and the kernel up to date. Empty: there is none.
	Agent string `json:"agent"`

	IPAM struct {
		Type       string            `json:"type"`
		DataDir    string            `json:"dataDir"`
		ResolvConf string            `json:"resolvConf"`
		Routes     []json.RawMessage `json:"routes"`
	} `json:"ipam"`
	attach.Asked
	attach.Publishing

	verb  string
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
	declared    *vxlan.Overlay // an ADD is planned twice
}

func parse(stdin []byte, env attach.Env) (conf, error) {
	c := conf{verb: env.Command}
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
	if c.PeersFile != "" && c.VNI == 0 && c.Subnet == "" && c.Subnets == nil {
		return c, nil // the file has the network
	}
	network, err := c.NetworkText.Parse()
	if err != nil {
		return c, err
	}
	c.network = network
	return c, network.Check(c.hosts)
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
	case c.IPAM.Type != "" && c.IPAM.Type != "host-local":
		return attach.Invalidf("key ipam.type is %q: addresses come from the host's own blocks by host-local, remove it", c.IPAM.Type)
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
