package ipam

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/fairway-cni/fairway/pkg/cnierr"
)

// Static gives the addresses that the configuration or the call names. Nothing is reserved.
type Static struct {
	Request
	// Version is the caller's cniVersion: before 0.3.0 a result has one address of each family.
	Version string
	// Recorded is the lease of prevResult, for Check.
	Recorded Lease
}

// staticConf is the keys of upstream's plugin v1.9.1.
type staticConf struct {
	IPAM *struct {
		Addresses []struct {
			Address string `json:"address"`
			Gateway string `json:"gateway"`
		} `json:"addresses"`
		Routes []*types.Route `json:"routes"`
		DNS    types.DNS      `json:"dns"`
	} `json:"ipam"`
	RuntimeConfig struct {
		IPs []string `json:"ips"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			IPs []string `json:"ips"`
		} `json:"cni"`
	} `json:"args"`
}

// ParseStatic reads the lease. Addresses are the network's and those of CNI_ARGS, or else those of args, or else those of the
// capability, as upstream has it. It is pure.
func ParseStatic(stdin []byte, args, cniVersion string) (Lease, error) {
	var conf staticConf
	if err := json.Unmarshal(stdin, &conf); err != nil {
		return Lease{}, err
	}
	if conf.IPAM == nil {
		return Lease{}, invalidf(`the network configuration has no key ipam: add "ipam": {"type": "static", "addresses": …}`)
	}
	var list []IP
	for _, a := range conf.IPAM.Addresses {
		ip, err := staticAddress("ipam.addresses has", a.Address)
		if err == nil && a.Gateway != "" {
			ip.Gateway, err = staticGateway("ipam.addresses has gateway", a.Gateway)
		}
		if err != nil {
			return Lease{}, err
		}
		list = append(list, ip)
	}
	list, err := asked(list, args)
	if err != nil {
		return Lease{}, err
	}
	for _, place := range []struct {
		name string
		ips  []string
	}{{"args.cni.ips has", conf.Args.CNI.IPs}, {"runtimeConfig.ips has", conf.RuntimeConfig.IPs}} {
		if len(place.ips) == 0 {
			continue
		}
		list = nil
		for _, text := range place.ips {
			ip, err := staticAddress(place.name, text)
			if err != nil {
				return Lease{}, err
			}
			list = append(list, ip)
		}
	}
	if err := fits(list, cniVersion); err != nil {
		return Lease{}, err
	}
	if slices.Contains(conf.IPAM.Routes, nil) {
		return Lease{}, invalidf("ipam.routes holds a null: remove it")
	}
	lease, err := FromResult(&types100.Result{Routes: conf.IPAM.Routes, DNS: conf.IPAM.DNS})
	if err != nil {
		return Lease{}, invalidf("ipam.%w: correct it", err)
	}
	lease.IPs = list
	return lease, nil
}

// asked adds the addresses of IP in CNI_ARGS, and sets the gateways of GATEWAY, each for the addresses in whose subnet it lies.
func asked(list []IP, args string) ([]IP, error) {
	for _, text := range argList(args, "IP") {
		ip, err := staticAddress("IP in CNI_ARGS has", text)
		if err != nil {
			return nil, err
		}
		list = append(list, ip)
	}
	for _, text := range argList(args, "GATEWAY") {
		gateway, err := staticGateway("GATEWAY in CNI_ARGS has", text)
		if err != nil {
			return nil, err
		}
		for i, ip := range list {
			if ip.Prefix.Masked().Contains(gateway) {
				list[i].Gateway = gateway
			}
		}
	}
	return list, nil
}

// argList is the values of a key of CNI_ARGS, which are separated by commas. Keys are upper case or lower case.
func argList(args, key string) (list []string) {
	for pair := range strings.SplitSeq(args, ";") {
		k, value, ok := strings.Cut(pair, "=")
		if !ok || !strings.EqualFold(k, key) || value == "" {
			continue
		}
		list = nil
		for text := range strings.SplitSeq(value, ",") {
			list = append(list, strings.TrimSpace(text))
		}
	}
	return list
}

func staticAddress(what, text string) (IP, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return IP{}, invalidf("%s %q: give addresses with the length of their subnet, such as 192.0.2.7/24", what, text)
	}
	ip, err := addressFrom(&types100.IPConfig{Address: net.IPNet{
		IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}})
	if err != nil {
		return IP{}, invalidf("%s %q: give addresses of an interface, such as 192.0.2.7/24", what, text)
	}
	return ip, nil
}

func staticGateway(what, text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, invalidf("%s %q: give an address", what, text)
	}
	return addr.Unmap(), nil
}

// fits says whether a result of the version has room for the addresses.
func fits(list []IP, cniVersion string) error {
	v4 := len(slices.DeleteFunc(slices.Clone(list), func(ip IP) bool { return ip.Prefix.Addr().Is6() }))
	several := v4 > 1 || len(list)-v4 > 1
	if ok, err := version.GreaterThanOrEqualTo(cniVersion, "0.3.0"); several && (!ok || err != nil) {
		return cnierr.Errorf(cnierr.ErrVersion, "cniVersion %s has one address of each family: set it to 0.3.0 or later, or give fewer", cniVersion)
	}
	return nil
}

func invalidf(format string, args ...any) error {
	return cnierr.Errorf(cnierr.ErrConfig, format, args...)
}

// Add gives the addresses.
func (s Static) Add(context.Context) (Lease, func() error, error) {
	lease, err := ParseStatic(s.Stdin, s.Args, s.Version)
	return lease, func() error { return nil }, err
}

// Check looks for the addresses in the recorded lease, with their gateways where they have one.
func (s Static) Check(context.Context) error {
	lease, err := ParseStatic(s.Stdin, s.Args, s.Version)
	if err != nil {
		return err
	}
	for _, ip := range lease.IPs {
		for _, recorded := range s.Recorded.IPs {
			if recorded.Prefix.Addr() == ip.Prefix.Addr() && ip.Gateway.IsValid() && recorded.Gateway != ip.Gateway {
				return cnierr.Errorf(cnierr.ErrConfig, "address %s has gateway %s in prevResult instead of %s: pass on the result of ADD as it was",
					ip.Prefix, recorded.Gateway, ip.Gateway)
			}
		}
	}
	return nil
}

// Del has nothing to give back, whatever the configuration has become.
func (Static) Del(context.Context) error { return nil }

// GC has nothing to give back.
func (Static) GC(context.Context) error { return nil }

// Status says whether the configuration can be used. Addresses may come with each call.
func (s Static) Status(context.Context) error {
	_, err := ParseStatic(s.Stdin, "", s.Version)
	return err
}
