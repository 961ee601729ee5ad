package blueprint

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

// DrawPredefined gives the conflist of a predefined network, for a runtime that wants a file.
func DrawPredefined(ctx context.Context, name string, site Site) (conflist.Definition, error) {
	n, err := conflist.Predefined(name)
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
	return definition, nil
}
