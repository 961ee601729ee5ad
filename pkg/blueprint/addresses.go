package blueprint

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

// paired reads the subnets of an order, each with the range, the gateway and the other addresses that lie in it.
func (o Order) paired() ([]conflist.Pool, error) {
	var all []conflist.Pool
	for _, text := range o.Subnets {
		subnet, err := prefix("subnet", text)
		if err != nil {
			return nil, err
		}
		if err := checkUsable(subnet); err != nil {
			return nil, err
		}
		for _, other := range all {
			if other.Subnet.Overlaps(subnet) {
				return nil, fmt.Errorf("subnets %s and %s overlap: give subnets that do not", other.Subnet, subnet)
			}
		}
		all = append(all, conflist.Pool{Subnet: subnet})
	}
	if len(all) == 0 && len(o.Ranges)+len(o.Gateways)+len(o.Aux) > 0 {
		return nil, errors.New("an ip-range, gateway or aux-address needs the subnet it is of: give --subnet")
	}
	for _, add := range []func([]conflist.Pool) error{o.addRanges, o.addGateways, o.addAux} {
		if err := add(all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (o Order) addRanges(all []conflist.Pool) error {
	for _, text := range o.Ranges {
		part, err := prefix("ip-range", text)
		if err != nil {
			return err
		}
		pool, err := poolOf(all, "ip-range", part)
		if err != nil {
			return err
		}
		if part.Bits() < pool.Subnet.Bits() {
			return fmt.Errorf("ip-range %s is wider than its subnet %s: give a part of it", part, pool.Subnet)
		}
		if pool.Range.IsValid() {
			return fmt.Errorf("ip-ranges %s and %s are of one subnet, %s: give one", pool.Range, part, pool.Subnet)
		}
		pool.Range = part
	}
	return nil
}

func (o Order) addGateways(all []conflist.Pool) error {
	for _, text := range o.Gateways {
		gateway, err := address("gateway", text)
		if err != nil {
			return err
		}
		pool, err := poolOf(all, "gateway", single(gateway))
		if err != nil {
			return err
		}
		if pool.Gateway.IsValid() {
			return fmt.Errorf("gateways %s and %s are of one subnet, %s: give one", pool.Gateway, gateway, pool.Subnet)
		}
		if !isHost(pool.Subnet, gateway) {
			return fmt.Errorf("gateway %s is the network or broadcast address of %s: give another address of it", gateway, pool.Subnet)
		}
		pool.Gateway = gateway
	}
	return nil
}

func (o Order) addAux(all []conflist.Pool) error {
	for _, text := range o.Aux {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return fmt.Errorf("aux-address %q: write NAME=ADDRESS", text)
		}
		aux, err := address("aux-address", value)
		if err != nil {
			return err
		}
		pool, err := poolOf(all, "aux-address", single(aux))
		if err != nil {
			return err
		}
		if _, twice := pool.Aux[name]; twice {
			return fmt.Errorf("aux-address %s is given twice for %s: give it once", name, pool.Subnet)
		}
		if aux == pool.Gateway {
			return fmt.Errorf("aux-address %s is the gateway %s: leave it out", name, aux)
		}
		if pool.Aux == nil {
			pool.Aux = map[string]netip.Addr{}
		}
		pool.Aux[name] = aux
	}
	return nil
}

// poolOf finds the subnet to which a part of it, or an address, belongs.
func poolOf(all []conflist.Pool, what string, part netip.Prefix) (*conflist.Pool, error) {
	i := slices.IndexFunc(all, func(p conflist.Pool) bool { return p.Subnet.Overlaps(part) })
	if i < 0 {
		text := part.String()
		if part.IsSingleIP() {
			text = part.Addr().String()
		}
		return nil, fmt.Errorf("no matching subnet for %s %s: give one that contains it", what, text)
	}
	return &all[i], nil
}

func single(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

func prefix(what, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if addr, bare := netip.ParseAddr(text); bare == nil && addr.Zone() == "" { // as with Docker, a subnet of one address
		p, err = single(addr), nil
	}
	switch {
	case err != nil, p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("invalid %s %q: write one like 10.5.0.0/24 or fd00:5::/64", what, text)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("invalid %s %s: it should be %s", what, p, p.Masked())
	}
	return p, nil
}

func address(what, text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("invalid %s %q: write an address like 10.5.0.1 or fd00:5::1", what, text)
	}
	return addr.Unmap(), nil
}
