package hostlocal

import (
	"fmt"
	"net/netip"
)

// rangeSection is a range as it stands in the configuration.
type rangeSection struct {
	Subnet     string `json:"subnet"`
	RangeStart string `json:"rangeStart"`
	RangeEnd   string `json:"rangeEnd"`
	Gateway    string `json:"gateway"`
}

// A placed range remembers its key, for errors.
type placed struct {
	Range
	key string
}

// ranges collects the range sets in upstream's order: those of the runtime,
// then the one written directly into ipam, then the list ipam.ranges.
func (n *keys) ranges() ([]RangeSet, error) {
	var p rangeParser
	for i, set := range n.RuntimeConfig.IPRanges {
		p.add(fmt.Sprintf("runtimeConfig.ipRanges[%d]", i), set)
	}
	if n.IPAM.Subnet != "" {
		direct := rangeSection{n.IPAM.Subnet, n.IPAM.RangeStart, n.IPAM.RangeEnd, n.IPAM.Gateway}
		p.addRange("ipam", direct)
	}
	for i, set := range n.IPAM.Ranges {
		p.add(fmt.Sprintf("ipam.ranges[%d]", i), set)
	}
	if p.err == nil && len(p.sets) == 0 && !n.Capabilities.IPRanges {
		p.err = invalidf("ipam has no range: add ipam.subnet or ipam.ranges")
	}
	p.checkSizes()
	p.checkOverlaps()
	p.checkVersion(n.CNIVersion)
	return p.sets, p.err
}

// rangeParser collects range sets until the first error, which sticks.
type rangeParser struct {
	sets []RangeSet
	keys []string // of the sets
	all  []placed
	err  error
}

func (p *rangeParser) add(key string, sections []rangeSection) {
	if p.err == nil && len(sections) == 0 {
		p.err = invalidf("%s has no range: add one with a subnet, or remove the empty list", key)
	}
	var set RangeSet
	for i, section := range sections {
		set = p.parse(set, fmt.Sprintf("%s[%d]", key, i), section)
	}
	p.close(key, set)
}

func (p *rangeParser) addRange(key string, section rangeSection) {
	p.close(key, p.parse(nil, key, section))
}

func (p *rangeParser) parse(set RangeSet, key string, section rangeSection) RangeSet {
	if p.err != nil {
		return nil
	}
	r, err := section.parse(key)
	if err != nil {
		p.err = err
		return nil
	}
	if len(set) > 0 && set[0].Start.Is4() != r.Start.Is4() {
		p.err = invalidf("%s.subnet %s is of another address family than %s: give each family a range set of its own", key, r.Subnet, set[0].Subnet)
	}
	p.all = append(p.all, placed{Range: r, key: key})
	return append(set, r)
}

func (p *rangeParser) close(key string, set RangeSet) {
	if p.err != nil {
		return
	}
	p.sets = append(p.sets, set)
	p.keys = append(p.keys, key)
}

func (p *rangeParser) checkSizes() {
	gateways := Config{Ranges: p.sets}.gateways()
	for i, set := range p.sets {
		if p.err == nil && set.size(gateways) == 0 {
			p.err = invalidf("%s (%s) has no address besides its gateway: widen the range or choose another gateway", p.keys[i], set)
		}
	}
}

func (p *rangeParser) checkOverlaps() {
	if p.err != nil {
		return
	}
	for i, b := range p.all {
		for _, a := range p.all[:i] {
			if b.overlaps(a.Range) {
				p.err = invalidf("%s.subnet %s (%s) overlaps %s.subnet %s (%s): give each range addresses of its own",
					b.key, b.Subnet, b.Range, a.key, a.Subnet, a.Range)
				return
			}
		}
	}
}

// checkVersion: results before CNI 0.3.0 hold one address of each family.
func (p *rangeParser) checkVersion(version string) {
	if p.err != nil || version != "" && version != "0.1.0" && version != "0.2.0" {
		return
	}
	families := map[bool]int{}
	for _, set := range p.sets {
		families[set[0].Start.Is4()]++
	}
	if families[true] > 1 || families[false] > 1 {
		p.err = invalidf("cniVersion %q has room for one address of each family: use 0.3.0 or later, or one range set for each family", version)
	}
}

// parse checks a range and fills in what it leaves out.
func (s rangeSection) parse(key string) (Range, error) {
	subnet, err := parseSubnet(key+".subnet", s.Subnet)
	if err != nil {
		return Range{}, err
	}
	r := DefaultRange(subnet)
	fields := []struct {
		key, text string
		addr      *netip.Addr
		parse     func(subnet netip.Prefix, key, text string) (netip.Addr, error)
	}{
		{"rangeStart", s.RangeStart, &r.Start, parseAddrOf},
		{"rangeEnd", s.RangeEnd, &r.End, parseAddrOf},
		{"gateway", s.Gateway, &r.Gateway, parseGateway},
	}
	for _, f := range fields {
		if f.text == "" {
			continue
		}
		if *f.addr, err = f.parse(subnet, key+"."+f.key, f.text); err != nil {
			return Range{}, err
		}
	}
	if r.End.Less(r.Start) {
		return Range{}, invalidf("%s.rangeEnd %s comes before rangeStart %s: exchange them", key, r.End, r.Start)
	}
	return r, nil
}
