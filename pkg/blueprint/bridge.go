package blueprint

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

// runtimeCapabilities are what a runtime may ask of an attachment (CNI conventions).
var runtimeCapabilities = map[string]bool{"ips": true, "mac": true, "aliases": true, "dns": true}

// gatewayModes are Docker's options on how a bridge reaches the outside, by family.
var gatewayModes = map[string]func(conflist.Network) bool{
	"com.docker.network.bridge.gateway_mode_ipv4": conflist.Network.Has4,
	"com.docker.network.bridge.gateway_mode_ipv6": conflist.Network.Has6,
}

// otherGatewayModes are Docker's modes that are not honoured, with what to give instead.
var otherGatewayModes = map[string]string{
	"isolated":        "give --internal, and isGateway=false for a bridge without an address of the host's",
	"nat-unprotected": "it lets others reach ports that are not published: give routed for that, or nat",
}

// publishingCapabilities are those of a plugin that publishes ports itself.
var publishingCapabilities = func() map[string]bool {
	all := maps.Clone(runtimeCapabilities)
	all["portMappings"] = true
	return all
}()

// bridge is a bridge of the host's with masquerading, as Docker's default driver makes it. The plugin publishes ports itself.
// Firewall and tuning have no place: isolation is the bridge's own, and a runtime that needs sysctls sets them.
func (d *draft) bridge(ctx context.Context) ([]plugin, error) {
	options, routed, err := d.gatewayMode()
	if err != nil {
		return nil, err
	}
	keys, err := bridgeDialect.translate(options)
	if err != nil {
		return nil, err
	}
	id := conflist.IDOf(d.Name)[:12]
	if keys["vlan"] != nil {
		id = id[:7] // the gateway's interface is called BRIDGE.VLAN, of 15 bytes at most
	}
	defaults := map[string]any{"bridge": "br-" + id, "hairpinMode": true, "isolated": true}
	if !d.layer2() {
		defaults["isGateway"], defaults["ipMasq"] = true, !routed && !d.Internal
		if routed {
			defaults["routed"] = true
		}
	}
	if keys["promiscMode"] == true || keys["disableContainerInterface"] == true {
		delete(defaults, "hairpinMode") // the plugin refuses both
	}
	for key, value := range defaults {
		if _, given := keys[key]; !given {
			keys[key] = value
		}
	}
	if d.Internal {
		keys["internal"] = true
	}
	if err := d.checkBridge(ctx, keys); err != nil {
		return nil, err
	}
	if err := d.addAddresses(keys, true); err != nil {
		return nil, err
	}
	if err := d.addNames(keys); err != nil {
		return nil, err
	}
	keys["capabilities"] = publishingCapabilities
	if d.Internal {
		keys["capabilities"] = runtimeCapabilities
	}
	return []plugin{{"bridge", keys}}, nil
}

// gatewayMode takes Docker's option of that name out of the options: "nat", the default, or "routed".
func (d *draft) gatewayMode() (rest map[string]string, routed bool, err error) {
	rest = map[string]string{}
	families, modes := 0, map[string]int{}
	network := conflist.Network{IPAM: conflist.IPAM{Pools: d.pools}}
	for _, has := range gatewayModes {
		if has(network) {
			families++
		}
	}
	for option, value := range d.options {
		has, ok := gatewayModes[option]
		if !ok {
			rest[option] = value
			continue
		}
		if value != "nat" && value != "routed" {
			return nil, false, fmt.Errorf("driver bridge cannot honour the option %s=%s: %s", option, value, cmp.Or(otherGatewayModes[value], "give nat or routed"))
		}
		if has(network) {
			modes[value]++
		}
	}
	if modes["routed"] != 0 && modes["routed"] != families {
		return nil, false, fmt.Errorf("driver bridge cannot route one family and masquerade the other: give gateway_mode_ipv4 and gateway_mode_ipv6 the same value")
	}
	return rest, modes["routed"] > 0, nil
}

// linkMax is the longest name of a link (IFNAMSIZ less the final zero).
const linkMax = 15

func (d *draft) checkBridge(ctx context.Context, keys map[string]any) error {
	name, _ := keys["bridge"].(string)
	if name == "" || len(name) > linkMax || strings.ContainsAny(name, "/: \t\n") || name == "." || name == ".." {
		return fmt.Errorf("bridge name %q: give 1 to %d characters without '/', ':' and spaces", name, linkMax)
	}
	for _, n := range d.site.Networks.All {
		if n.Driver == "bridge" && n.Link == name {
			return fmt.Errorf("bridge name %s is that of network %s: choose another one", name, n.Name)
		}
	}
	if kind, there := d.site.Host.Links[name]; there && kind != "bridge" {
		return fmt.Errorf("bridge name %s is that of a link of type %s: choose another one", name, kind)
	}
	if mtu, ok := keys["mtu"].(int); ok && (mtu < 68 || mtu > 65535) {
		return fmt.Errorf("MTU %d: give 68 to 65535", mtu)
	}
	if d.site.Plugins.Fairway(ctx, "bridge") {
		return nil
	}
	for _, key := range []string{"internal", "icc"} {
		if _, asked := keys[key]; asked {
			return fmt.Errorf("the installed plugin bridge is not fairway's and would ignore %s: install fairway's in its place", key)
		}
	}
	return nil
}

// addAddresses adds the key ipam. With gateways, a pool that has none gets its first free address as one.
func (d *draft) addAddresses(keys map[string]any, gateways bool) error {
	one := map[bool]string{}
	for i, pool := range d.pools {
		family := pool.Subnet.Addr().Is4()
		if other, twice := one[family]; twice && gateways {
			return fmt.Errorf("driver %s has one subnet of a family: leave out %s or %s", d.Driver, other, pool.Subnet)
		}
		one[family] = pool.Subnet.String()
		if gateways && !pool.Gateway.IsValid() {
			d.pools[i].Gateway = firstFree(pool)
		}
	}
	ipam, err := d.ipam()
	if err != nil {
		return err
	}
	if ipam != nil {
		keys["ipam"] = ipam
	}
	return nil
}
