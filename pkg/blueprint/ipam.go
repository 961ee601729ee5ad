package blueprint

import (
	"fmt"
	"strings"

	"github.com/fairway-cni/fairway/pkg/driver"
)

// usesHostLocal says whether addresses are given out by host-local.
func (d *draft) usesHostLocal() bool {
	switch d.IPAMDriver {
	case "", "default", "host-local":
		return true
	}
	return false
}

// layer2 says whether the network has no addresses.
func (d *draft) layer2() bool { return d.IPAMDriver == "none" || d.IPAMDriver == "null" }

// onParent says whether containers are machines in the subnet of a link of the host.
func (d *draft) onParent() bool { return driver.Of(d.Driver).OnParent }

// choosesPools says whether a family without a subnet gets one. A plugin of others may have its own way of addresses, so
// that it gets a subnet only where one was asked for.
func (d *draft) choosesPools() bool {
	if !d.usesHostLocal() {
		return false
	}
	switch d.Driver {
	case "bridge", "macvlan", "ipvlan":
		return true
	case "overlay", "overlay-vxlan":
		return d.ByAgent() // listed peers have the subnet that all their hosts know
	}
	return d.IPAMDriver != "" || d.IPv6 || d.given > 0
}

// ipam is the configuration of the IPAM plugin. Nil: the network has none.
func (d *draft) ipam() (any, error) {
	if d.usesHostLocal() {
		return d.hostLocal()
	}
	if len(d.pools) > 0 || d.IPv6 {
		return nil, fmt.Errorf("IPAM driver %s takes no subnets: leave --subnet and --ipv6 out, or use the default driver", d.IPAMDriver)
	}
	if d.layer2() {
		if len(d.ipamOptions) > 0 {
			return nil, fmt.Errorf("IPAM driver %s takes no options: leave --ipam-opt out", d.IPAMDriver)
		}
		return nil, nil
	}
	if strings.ContainsAny(d.IPAMDriver, "/\\") || strings.HasPrefix(d.IPAMDriver, ".") {
		return nil, fmt.Errorf("IPAM driver %q: give the name of a plugin, not a path", d.IPAMDriver)
	}
	keys := map[string]any{}
	for key, value := range d.ipamOptions {
		keys[key] = byLooks(value)
	}
	return plugin{d.IPAMDriver, keys}, nil
}

func (d *draft) hostLocal() (any, error) {
	for key := range d.ipamOptions {
		return nil, fmt.Errorf("the default IPAM driver cannot honour the ipam-opt %s: leave it out", key)
	}
	if len(d.pools) == 0 {
		return nil, nil
	}
	return allocator(d.pools, d.Internal)
}
