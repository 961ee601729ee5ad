// Package driver is what drivers of networks are: which plugin is behind Docker's name of one, what is special about it, and what of plugins is
// installed. Asking plugins executes them, with no command or with VERSION, which change nothing.
package driver

import "slices"

// Driver is a plugin that makes a network by itself.
type Driver struct {
	// Plugin is its type, Name what Docker calls it.
	Plugin, Name string
	// Scope is "global" where a network reaches over several hosts, and else "local".
	Scope string
	// OnHost: the host has the network's subnets on a link of its own, and forwards for its containers.
	OnHost bool
	// OnBridge: the host's ends of containers are ports of a bridge, which is the network's link.
	OnBridge bool
	// OnParent: containers are machines in the subnet of a link of the host.
	OnParent bool
	// Collects: it is fairway's, and has something that a crash leaves.
	Collects bool
	// SharesHost: containers are in the host's own namespace.
	SharesHost bool
	// Fixed says why no container is connected later, and why there is the predefined network alone. Empty: neither is so.
	Fixed string
}

// known are Docker's drivers and those that are told apart from the others.
var known = []Driver{
	{Plugin: "bridge", Name: "bridge", Scope: "local", OnHost: true, OnBridge: true, Collects: true},
	{Plugin: "macvlan", Name: "macvlan", Scope: "local", OnParent: true, Collects: true},
	{Plugin: "ipvlan", Name: "ipvlan", Scope: "local", OnParent: true},
	{Plugin: "overlay-vxlan", Name: "overlay", Scope: "global", OnHost: true, Collects: true},
	{Plugin: "host", Name: "host", Scope: "local", SharesHost: true, Fixed: ": a container is on the host's network from its start, or never"},
	{Plugin: "none", Name: "null", Scope: "local", Fixed: " connects a container to nothing"},
}

// Of is a driver by Docker's name or by its plugin's type. Of one that is not known, both are the same, and nothing is special about it.
func Of(name string) Driver {
	for _, d := range known {
		if d.Name == name || d.Plugin == name {
			return d
		}
	}
	return Driver{Plugin: name, Name: name, Scope: "local"}
}

// Default is the driver of a network for which none is given.
const Default = "bridge"

// Proposed are Docker's names of drivers that networks are created of.
func Proposed() []string { return []string{"bridge", "macvlan", "overlay"} }

// others are plugins that do not make a network by themselves: those of IPAM, those to be chained behind another, and programs that may lie
// beside the plugins.
var others = []string{
	"host-local", "dhcp", "static", "portmap", "firewall", "tuning", "bandwidth", "sbr", "vrf", "loopback", "fairway", "fairwayd",
}

// Makes says whether networks are created of a driver, by its name or a plugin's type.
func Makes(name string) bool { return !slices.Contains(others, name) && Of(name).Fixed == "" }
