package blueprint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/driver"
	"github.com/fairway-cni/fairway/pkg/pools"
)

// draft is an order that has been read, on its way to a conflist.
type draft struct {
	Order
	site    Site
	options map[string]string
	labels  map[string]string
	// ipamOptions are IPAMOptions by key.
	ipamOptions map[string]string
	pools       []conflist.Pool
	// given counts the pools that were asked for; the others were chosen.
	given int
	// driverGiven: by the order, and not by default or by another network.
	driverGiven bool
}

// Draw gives the conflist for an order. Nothing is written.
func Draw(ctx context.Context, o Order, site Site) (conflist.Definition, error) {
	d, err := read(o, site)
	if err != nil {
		return conflist.Definition{}, err
	}
	if d.ConfigOnly {
		_, err := d.uses(ctx)
		return d.template(), err
	}
	if err := d.choosePools(); err != nil {
		return conflist.Definition{}, err
	}
	return d.definition(ctx)
}

// definition is the conflist of the driver.
func (d *draft) definition(ctx context.Context) (conflist.Definition, error) {
	plugins, err := d.plugins(ctx)
	if err != nil {
		return conflist.Definition{}, err
	}
	versions, err := d.versions(ctx, plugins)
	if err != nil {
		return conflist.Definition{}, err
	}
	about := d.about()
	about.Driver = driver.Of(plugins[0].kind).Name
	definition := conflist.Definition{Name: d.Name, CNIVersions: versions, Labels: d.labels, About: about}
	for _, p := range plugins {
		definition.Plugins = append(definition.Plugins, p)
	}
	return definition, nil
}

// read checks what can be checked without the driver.
func read(o Order, site Site) (*draft, error) {
	if err := checkName(o.Name, site.Networks); err != nil {
		return nil, err
	}
	d := &draft{Order: o, site: site, driverGiven: o.Driver != ""}
	var err error
	if d.options, err = pairs("option", o.Options); err != nil {
		return nil, err
	}
	if d.labels, err = pairs("label", o.Labels); err != nil {
		return nil, err
	}
	if d.ipamOptions, err = pairs("ipam-opt", o.IPAMOptions); err != nil {
		return nil, err
	}
	if d.pools, err = o.paired(); err != nil {
		return nil, err
	}
	if o.ConfigFrom != "" {
		if err := d.copyFrom(o.ConfigFrom); err != nil {
			return nil, err
		}
	}
	d.given = len(d.pools)
	if o.ConfigOnly {
		return d, nil // it is for any driver
	}
	if d.Driver == "" {
		d.Driver = driver.Default
	}
	return d, d.check()
}

// longestName leaves room for what runtimes record by NAME-ID-INTERFACE: a file's name has 255 bytes, an ID of containerd's clients up to
// 72, as "default-" and 64 digits, and an interface 15.
const longestName = 255 - 72 - 15 - 2

func checkName(name string, networks conflist.Networks) error {
	if conflist.IsPredefined(name) || name == conflist.Default {
		return fmt.Errorf("operation is not permitted on predefined %s network", name)
	}
	if err := conflist.CheckName(name); err != nil {
		return err
	}
	if len(name) > longestName {
		return fmt.Errorf("network name of %d characters: use at most %d, so that runtimes can record containers on it", len(name), longestName)
	}
	if slices.ContainsFunc(networks.All, func(n conflist.Network) bool { return n.Name == name }) {
		return fmt.Errorf("network with name %s %w", name, conflist.ErrExists)
	}
	return nil
}

func (d *draft) check() error {
	if driver.Of(d.Driver).Fixed != "" {
		return fmt.Errorf("only one network of driver %s is allowed, the predefined one: use it as it is", d.Driver)
	}
	if strings.ContainsAny(d.Driver, "/\\") || strings.HasPrefix(d.Driver, ".") {
		return fmt.Errorf("driver %q: give the name of a plugin, not a path", d.Driver)
	}
	if !driver.Makes(d.Driver) {
		return fmt.Errorf("driver %s: this plugin makes no network by itself: choose bridge, macvlan, overlay, or another one that does", d.Driver)
	}
	for _, pool := range d.pools {
		if d.Driver == "bridge" && pool.Subnet.IsSingleIP() {
			return fmt.Errorf("subnet %s has one address, and a bridge needs one for itself and one for a container: give a wider one", pool.Subnet)
		}
	}
	if want := driver.Of(d.Driver).Scope; d.Scope != "" && d.Scope != want && !(d.Scope == "swarm" && want == "global") {
		return fmt.Errorf("scope %s: a network of driver %s is %s, leave the scope out", d.Scope, d.Driver, want)
	}
	return nil
}

// about is what the conflist remembers of the order.
func (d *draft) about() conflist.About {
	return conflist.About{
		Driver: d.Driver, Created: d.site.Now.UTC().Truncate(1e9), Options: d.options, Pools: d.pools, Internal: d.Internal,
		Attachable: d.Attachable, ConfigFrom: d.ConfigFrom, IPAMOptions: d.ipamOptions,
	}
}

// plugins gives the list of plugins of the driver.
func (d *draft) plugins(ctx context.Context) ([]plugin, error) {
	switch d.Driver {
	case "bridge":
		return d.bridge(ctx)
	case "macvlan":
		return d.macvlan()
	case "overlay", "overlay-vxlan":
		return d.overlay()
	}
	return d.other()
}

// choosePools gives the families that are wanted and have no subnet one, and refuses subnets that others have.
func (d *draft) choosePools() error {
	taken := slices.Clone(d.site.Host.Taken)
	if d.onParent() {
		taken = nil // the parent's own subnet is just what containers are to be in
	}
	for _, n := range d.site.Networks.All {
		if n.ConfigOnly {
			continue
		}
		for _, pool := range n.IPAM.Pools {
			taken = append(taken, pools.Taken{Prefix: pool.Subnet, By: "network " + n.Name})
		}
	}
	for _, pool := range d.pools {
		if other := pools.Overlap(pool.Subnet, taken); other != nil {
			return fmt.Errorf("subnet %s overlaps %s of %s: choose another one", pool.Subnet, other.Prefix, other.By)
		}
	}
	if !d.choosesPools() {
		return nil
	}
	taken = append(taken, d.site.Host.Taken...)
	for _, pool := range d.pools {
		taken = append(taken, pools.Taken{Prefix: pool.Subnet})
	}
	return d.addMissing(taken)
}

func (d *draft) addMissing(taken []pools.Taken) error {
	has4 := slices.ContainsFunc(d.pools, func(p conflist.Pool) bool { return p.Subnet.Addr().Is4() })
	has6 := slices.ContainsFunc(d.pools, func(p conflist.Pool) bool { return p.Subnet.Addr().Is6() })
	if !has4 && !d.NoIPv4 {
		subnet, err := pools.Next4(taken)
		if err != nil {
			return err
		}
		d.pools = append([]conflist.Pool{{Subnet: subnet}}, d.pools...)
	}
	if !has6 && d.IPv6 {
		subnet, err := pools.Next6(d.site.Host.Identity, taken)
		if err != nil {
			return err
		}
		d.pools = append(d.pools, conflist.Pool{Subnet: subnet})
	}
	if len(d.pools) == 0 {
		return errors.New("a network has IPv4, IPv6 or both: give --ipv6, or a subnet")
	}
	return nil
}
