package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/pkg/utils"
	"github.com/spf13/pflag"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
)

// endpointFlags are what may be asked of a container's place on a network, as given on the command line.
type endpointFlags struct {
	ip, ip6, mac, ifname string
	aliases              []string
	priority             int // gw-priority
}

func (o *endpointFlags) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.ip, "ip", "", "IPv4 `address` of the container")
	flags.StringVar(&o.ip6, "ip6", "", "IPv6 `address` of the container")
	flags.StringVar(&o.mac, "mac-address", "", "MAC `address` of the container")
	flags.StringSliceVar(&o.aliases, "alias", nil, "further `names` of the container on the network")
}

// request reads the flags. An error names the one that is wrong.
func (o *endpointFlags) request() (attachment.Request, error) {
	request := attachment.Request{IfName: o.ifname}
	if o.ifname != "" {
		if err := utils.ValidateInterfaceName(o.ifname); err != nil {
			return request, fmt.Errorf("--ifname %q: %s", o.ifname, err.Msg)
		}
	}
	for _, given := range []struct {
		flag, text, family string
		is                 func(netip.Addr) bool
	}{{"--ip", o.ip, "IPv4", netip.Addr.Is4}, {"--ip6", o.ip6, "IPv6", netip.Addr.Is6}} {
		if given.text == "" {
			continue
		}
		addr, err := netip.ParseAddr(given.text)
		if err != nil || !given.is(addr) || addr.Is4In6() || addr.Zone() != "" {
			return request, fmt.Errorf("%s %q: give an %s address", given.flag, given.text, given.family)
		}
		request.IPs = append(request.IPs, addr)
	}
	if o.mac != "" {
		mac, err := net.ParseMAC(o.mac)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return request, fmt.Errorf("--mac-address %q: give a unicast Ethernet address such as 02:42:ac:11:00:02", o.mac)
		}
		request.MAC = mac
	}
	for _, alias := range o.aliases {
		if !isHostName(alias) {
			return request, fmt.Errorf("--alias %q: use letters, digits, '-', '_' and '.'", alias)
		}
		request.Aliases = append(request.Aliases, alias)
	}
	return request, nil
}

// isHostName says whether a text can be looked up as a name: RFC 1123, section 2.1, and the underscore, which people use.
func isHostName(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return s != "" && len(s) <= 253 && strings.Trim(s, allowed) == "" && !strings.ContainsAny(s[:1], "-.")
}

// fitsIn says why a network does not give a certain address.
func fitsIn(n conflist.Network, ip netip.Addr) error {
	var subnets []string
	for _, pool := range n.IPAM.Pools {
		if pool.Gateway == ip {
			return fmt.Errorf("network %s has %s as its gateway: choose another address of %s", n.Name, ip, pool.Subnet)
		}
		for name, aux := range pool.Aux {
			if aux == ip {
				return fmt.Errorf("network %s has set %s aside for %s: choose another address of %s", n.Name, ip, name, pool.Subnet)
			}
		}
		if pool.Subnet.Contains(ip) {
			return nil
		}
		subnets = append(subnets, pool.Subnet.String())
	}
	if len(subnets) == 0 {
		return nil
	}
	return fmt.Errorf("network %s has no subnet with the address %s: choose one of %s", n.Name, ip, strings.Join(subnets, " or "))
}
