package blueprint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

var macvlanModes = []string{"bridge", "private", "vepa", "passthru"}

// macvlan gives containers a MAC of their own on a link of the host.
func (d *draft) macvlan() ([]plugin, error) {
	keys, err := macvlanDialect.translate(d.options)
	if err != nil {
		return nil, err
	}
	if d.Internal {
		return nil, errors.New("driver macvlan cannot be internal: its containers are on the parent's own segment, use driver bridge")
	}
	mode, _ := keys["mode"].(string)
	if mode != "" && !slices.Contains(macvlanModes, mode) {
		return nil, fmt.Errorf("option macvlan_mode: %q is none of %s", mode, strings.Join(macvlanModes, ", "))
	}
	parent, _ := keys["master"].(string)
	if err := d.checkParent(parent, mode); err != nil {
		return nil, err
	}
	if err := d.addAddresses(keys, false); err != nil {
		return nil, err
	}
	if err := d.addNames(keys); err != nil {
		return nil, err
	}
	keys["capabilities"] = runtimeCapabilities
	return []plugin{{"macvlan", keys}}, nil
}

// checkParent: the parent has to be there, or to be a VLAN (eth0.10) of a link that is. One in mode passthru has a single
// network.
func (d *draft) checkParent(parent, mode string) error {
	if parent == "" {
		return nil // the plugin takes the link of the default route
	}
	base, _, _ := strings.Cut(parent, ".")
	_, there := d.site.Host.Links[parent]
	_, basis := d.site.Host.Links[base]
	if !there && !basis {
		return fmt.Errorf("parent %s: there is no such link on the host", parent)
	}
	for _, n := range d.site.Networks.All {
		passthru := mode == "passthru" || n.Options["macvlan_mode"] == "passthru" || n.Options["mode"] == "passthru"
		if n.Driver == "macvlan" && n.Link == parent && passthru {
			return fmt.Errorf("parent %s is that of network %s, and mode passthru takes a parent for one network: choose another mode or parent", parent, n.Name)
		}
	}
	return nil
}

// other is any plugin that is installed, with the options as its keys.
func (d *draft) other() ([]plugin, error) {
	keys, err := foreign(d.Driver).translate(d.options)
	if err != nil {
		return nil, err
	}
	if d.Internal {
		return nil, fmt.Errorf("driver %s cannot honour internal: use driver bridge or overlay, or the driver's own option for it", d.Driver)
	}
	if d.onParent() {
		parent, _ := keys["master"].(string)
		if err := d.checkParent(parent, ""); err != nil {
			return nil, err
		}
	}
	if err := d.addAddresses(keys, false); err != nil {
		return nil, err
	}
	return []plugin{{d.Driver, keys}}, nil
}
