package blueprint

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/pools"
)

// Settle gives the predefined bridge its subnet: the one that its link has already, or else the compiled one, or the next free one where the
// host or another network has to do with that. Nothing is written down: as long as the link is there, so is its address. A bridge
// that is in a file stays as it is. The error says that no subnet is free.
func Settle(networks conflist.Networks, host pools.Host) (conflist.Networks, error) {
	at := slices.IndexFunc(networks.All, func(n conflist.Network) bool { return n.Name == "bridge" && n.File == "" })
	if at < 0 || len(networks.All[at].IPAM.Pools) == 0 {
		return networks, nil
	}
	compiled := networks.All[at]
	subnet, err := settled(compiled, networks, host.Taken)
	if err != nil {
		return networks, fmt.Errorf("network %s: %w", compiled.Name, err)
	}
	moved, err := conflist.PredefinedOn(subnet)
	if err != nil {
		return networks, err
	}
	networks.All = slices.Clone(networks.All)
	networks.All[at] = moved
	return networks, nil
}

func settled(compiled conflist.Network, networks conflist.Networks, onHost []pools.Taken) (netip.Prefix, error) {
	var taken []pools.Taken
	for _, t := range onHost {
		switch {
		case t.Link != compiled.Link:
			taken = append(taken, t)
		case t.Prefix.Addr().Is4() && !t.Prefix.IsSingleIP():
			return t.Prefix, nil
		}
	}
	for _, n := range networks.All {
		for _, pool := range n.IPAM.Pools {
			if n.Name != compiled.Name && !n.ConfigOnly {
				taken = append(taken, pools.Taken{Prefix: pool.Subnet})
			}
		}
	}
	return pools.First4(compiled.IPAM.Pools[0].Subnet, taken)
}

// DrawPredefined gives the conflist of a predefined network, for a runtime that wants a file.
func DrawPredefined(ctx context.Context, name string, site Site) (conflist.Definition, error) {
	n, err := site.Networks.Find(conflist.IDOf(name))
	if err != nil || n.File != "" { // which is refused when it is to be written
		n, err = conflist.Predefined(name)
	}
	if err != nil {
		return conflist.Definition{}, err
	}
	d := &draft{Order: Order{Driver: n.Driver}, site: site}
	var plugins []plugin
	for _, conf := range n.List.Plugins {
		p := plugin{kind: conf.Network.Type}
		if err := json.Unmarshal(conf.Bytes, &p.keys); err != nil {
			return conflist.Definition{}, fmt.Errorf("network %s: %w", name, err)
		}
		delete(p.keys, "type")
		plugins = append(plugins, p)
	}
	versions, err := d.versions(ctx, plugins)
	if err != nil {
		return conflist.Definition{}, err
	}
	definition := conflist.Definition{Name: n.Name, CNIVersions: versions, About: conflist.About{Driver: n.Driver, Pools: n.IPAM.Pools, Created: site.Now.UTC().Truncate(1e9)}}
	for _, p := range plugins {
		definition.Plugins = append(definition.Plugins, p)
	}
	if name == "bridge" {
		// By which nerdctl knows its default network; without, each run warns that somebody else made it.
		definition.Labels = map[string]string{"nerdctl/default-network": "true"}
	}
	return definition, nil
}
