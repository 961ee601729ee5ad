package hostlocal

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// requested collects the addresses that the caller asks for. Those of CNI_ARGS,
// args and capability add up, as in upstream, because a caller may give one
// family here and the other there. Where CNI_ARGS and args speak of the same
// range set, args win (CNI conventions, "args in network config").
func (n *keys) requested(cniArgs string, sets []RangeSet) ([]netip.Addr, error) {
	env, err := parseArgs(cniArgs)
	if err != nil {
		return nil, err
	}
	args, err := parseRequests("args.cni.ips", n.Args.CNI.IPs)
	if err != nil {
		return nil, err
	}
	capability, err := parseRequests("runtimeConfig.ips", n.RuntimeConfig.IPs)
	if err != nil {
		return nil, err
	}
	env = slices.DeleteFunc(env, func(e netip.Addr) bool {
		return slices.ContainsFunc(args, func(a netip.Addr) bool { return sameSet(sets, e, a) })
	})
	return unique(slices.Concat(env, args, capability)), nil
}

// parseArgs reads CNI_ARGS, "K=V;K2=V2". Its keys are shared by all plugins of
// a chain, so others than IP are none of our business.
func parseArgs(cniArgs string) ([]netip.Addr, error) {
	if cniArgs == "" {
		return nil, nil
	}
	var ip string
	for pair := range strings.SplitSeq(cniArgs, ";") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok && pair != "" {
			return nil, invalidf("CNI_ARGS has the entry %q without a value: write KEY=VALUE;KEY=VALUE", pair)
		}
		if key == "IP" {
			ip = value
		}
	}
	if ip == "" {
		return nil, nil
	}
	return parseRequests("CNI_ARGS IP", []string{ip})
}

func parseRequests(key string, texts []string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for i, text := range texts {
		name := key
		if len(texts) > 1 {
			name = fmt.Sprintf("%s[%d]", key, i)
		}
		a, err := parseRequest(name, text)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

func sameSet(sets []RangeSet, a, b netip.Addr) bool {
	return slices.ContainsFunc(sets, func(s RangeSet) bool {
		_, hasA := s.find(a)
		_, hasB := s.find(b)
		return hasA && hasB
	})
}

func unique(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// assign gives each requested address to its range set: the result holds one
// entry for each set, zero where any address will do.
func (c Config) assign() ([]netip.Addr, error) {
	wanted := make([]netip.Addr, len(c.Ranges))
	for _, a := range c.Requested {
		i := slices.IndexFunc(c.Ranges, func(s RangeSet) bool {
			_, ok := s.find(a)
			return ok
		})
		switch {
		case i < 0:
			return nil, invalidf("the requested address %s lies outside every range (%s): request one of a range, or widen a range", a, joinSets(c.Ranges))
		case slices.Contains(c.gateways(), a):
			return nil, invalidf("the requested address %s is the gateway of its subnet: request another one", a)
		case wanted[i].IsValid():
			return nil, invalidf("the requested addresses %s and %s belong to the same range set (%s): request one of each set", wanted[i], a, c.Ranges[i])
		}
		wanted[i] = a
	}
	return wanted, nil
}

func joinSets(sets []RangeSet) string {
	names := make([]string, len(sets))
	for i, s := range sets {
		names[i] = s.String()
	}
	return strings.Join(names, "; ")
}
