package conflist

import (
	"fmt"
	"net/netip"
	"strconv"
)

// plugin is what the first plugin's configuration tells about its network.
type plugin struct {
	Type     string `json:"type"`
	Bridge   string `json:"bridge"`
	Master   string `json:"master"`
	Mode     string `json:"mode"`
	MTU      int    `json:"mtu"`
	Internal bool   `json:"internal"`

	IsGateway        bool `json:"isGateway"`
	IsDefaultGateway bool `json:"isDefaultGateway"`

	// Subnet and Subnets are those of overlay-vxlan.
	Subnet  string   `json:"subnet"`
	Subnets []string `json:"subnets"`
	IPAM    *struct {
		Type string `json:"type"`
		rangeConf
		Ranges [][]rangeConf `json:"ranges"`
	} `json:"ipam"`
}

// rangeConf is a range of host-local.
type rangeConf struct {
	Subnet  string `json:"subnet"`
	Gateway string `json:"gateway"`
}

// readPlugin takes what the first plugin's configuration says.
func (n *Network) readPlugin(conf []byte) error {
	var p plugin
	if err := readForeign(conf, &p); err != nil {
		return err
	}
	n.Internal = p.Internal
	n.Options = p.options()
	switch p.Type {
	case "bridge":
		if n.Link = p.Bridge; n.Link == "" {
			n.Link = "cni0" // the plugin's default
		}
		n.HasGateway = p.IsGateway || p.IsDefaultGateway
	case "macvlan", "ipvlan":
		n.Link = p.Master
	}
	n.IPAM = IPAM{Driver: "null"}
	for _, subnet := range append(p.Subnets, p.Subnet) {
		if err := n.IPAM.add(rangeConf{Subnet: subnet}); err != nil {
			return err
		}
	}
	if p.IPAM != nil {
		n.IPAM.Driver = p.IPAM.Type
		for _, set := range append(p.IPAM.Ranges, []rangeConf{p.IPAM.rangeConf}) {
			for _, r := range set {
				if err := n.IPAM.add(r); err != nil {
					return err
				}
			}
		}
	}
	if n.IPAM.Driver == "host-local" || n.Driver == "overlay" {
		n.IPAM.Driver = "default"
	}
	return nil
}

// add appends the pool of a range, unless an earlier range has the same subnet. An empty subnet is none.
func (i *IPAM) add(r rangeConf) error {
	if r.Subnet == "" {
		return nil
	}
	subnet, err := netip.ParsePrefix(r.Subnet)
	if err != nil {
		return fmt.Errorf("subnet %q: write one like 10.1.0.0/24 or fd00::/64", r.Subnet)
	}
	pool := Pool{Subnet: subnet.Masked()}
	for _, known := range i.Pools {
		if known.Subnet == pool.Subnet {
			return nil
		}
	}
	if r.Gateway != "" {
		if pool.Gateway, err = netip.ParseAddr(r.Gateway); err != nil {
			return fmt.Errorf("gateway %q: write an address like 10.1.0.1", r.Gateway)
		}
	}
	i.Pools = append(i.Pools, pool)
	return nil
}

// options are the keys for which Docker has a name.
func (p plugin) options() map[string]string {
	options := map[string]string{}
	set := func(key, value string) {
		if value != "" {
			options[key] = value
		}
	}
	switch p.Type {
	case "bridge":
		set("com.docker.network.bridge.name", p.Bridge)
	case "macvlan":
		set("parent", p.Master)
		set("macvlan_mode", p.Mode)
	case "ipvlan":
		set("parent", p.Master)
		set("ipvlan_mode", p.Mode)
	}
	if p.MTU != 0 {
		set("com.docker.network.driver.mtu", strconv.Itoa(p.MTU))
	}
	return options
}
